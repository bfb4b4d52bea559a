"""`dataframe_records` and `dataframe_split` become the rows that a model takes."""

import pandas as pd
import pytest

from truss.config import Column, Signature, Tensor
from truss.errors import InvalidInputError
from truss.model.tables import with_rows

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
RECORDS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
NAMELESS = Signature(tensors=[Tensor(shape=[None, 2])])
NAMED = Signature(columns=[Column(name="a"), Column(name="b")])


@pytest.mark.parametrize("signature", [None, Signature(), NAMED])
def test_pandas_own_forms_become_records(signature):
    for request in (
        {"dataframe_records": FRAME.to_dict("records"), "top": 3},
        {"dataframe_split": FRAME.to_dict("split"), "top": 3},
    ):
        assert with_rows(request, signature) == {"inputs": RECORDS, "top": 3}


def test_a_model_without_names_gets_lists():
    for request in (
        {"dataframe_split": FRAME.to_dict("split")},
        {"dataframe_records": FRAME.to_dict("records")},
    ):
        assert with_rows(request, NAMELESS) == {"inputs": [[1, "x"], [2, "y"]]}


def test_records_whose_order_differs_have_no_places():
    records = [{"a": 1, "b": 2}, {"b": 2, "a": 1}]
    assert with_rows({"dataframe_records": records}, NAMELESS) == {"inputs": records}


def test_a_model_of_named_arrays_gets_records():
    signature = Signature(tensors=[Tensor(name="a", shape=[None]), Tensor(name="b", shape=[None])])
    assert with_rows({"dataframe_split": FRAME.to_dict("split")}, signature) == {"inputs": RECORDS}


@pytest.mark.parametrize("request_", [{"inputs": [1]}, {}, [1], None, "text"])
def test_other_requests_pass(request_):
    assert with_rows(request_, NAMED) is request_


@pytest.mark.parametrize(
    ("request_", "where", "message"),
    [
        ({"dataframe_records": {"a": 1}}, "dataframe_records", "must be a list of records"),
        ({"dataframe_records": [[1]]}, "dataframe_records", "must be a list of records"),
        ({"dataframe_split": [[1]]}, "dataframe_split", "`columns` and `data`"),
        ({"dataframe_split": {"columns": ["a"]}}, "dataframe_split", "`columns` and `data`"),
        (
            {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3]]}},
            "dataframe_split.data[1]",
            "row 1 is not a list of 2 values",
        ),
        ({"dataframe_records": [], "inputs": []}, "`inputs` and `dataframe_records`", "rows twice"),
        (
            {"dataframe_records": [], "dataframe_split": {}},
            "`dataframe_records` and `dataframe_split`",
            "rows twice",
        ),
    ],
)
def test_tables_of_another_form_are_refused(request_, where, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        with_rows(request_, None)
    assert caught.value.where == where
