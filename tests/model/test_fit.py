"""Where a request does not fit the signature: the place, what is there, what the model takes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.config import Column, Signature, Tensor
from truss.model.fit import misfit

TABLE = Signature(
    columns=[
        Column(name="age", dtype="float64"),
        Column(name="colour", dtype="text"),
        Column(name="member", dtype="bool"),
    ]
)
ROWS = Signature(tensors=[Tensor(dtype="float32", shape=[None, 2, 3])])
NAMED = Signature(
    tensors=[
        Tensor(name="size", dtype="float32", shape=[None, 2]),
        Tensor(name="word", dtype="int64", shape=[None]),
    ]
)
GOOD = {"age": 3, "colour": "red", "member": True}


@pytest.mark.parametrize(
    ("row", "where", "message"),
    [
        (GOOD | {"age": "old"}, "inputs[1], column 'age'", "the text 'old' where the model takes float64"),
        (GOOD | {"colour": 3}, "inputs[1], column 'colour'", "the value 3 where the model takes text"),
        (GOOD | {"colour": [3]}, "inputs[1], column 'colour'", "a list where the model takes text"),
        ({"age": 3, "member": True}, "inputs[1]", "lacks the column 'colour'"),
        ({"Age": 3, "colour": "red", "member": True}, "inputs[1]", "lacks the column 'age'; it has 'Age'"),
        ({}, "inputs[1]", "lacks the columns 'age', 'colour', 'member'"),
        ([1, "red"], "inputs[1]", "2 values; the model takes 3: age, colour, member"),
        ([1, 2, True], "inputs[1], column 'colour'", "the value 2 where the model takes text"),
        (5, "inputs[1]", "the value 5; the model takes a record, or a list of 3 values"),
        ("x" * 90, "inputs[1]", f"the text '{'x' * 20}...'; the model takes a record, or a list of 3 values"),
    ],
)
def test_a_row_that_does_not_fit_a_table(row, where, message):
    found = misfit({"inputs": [GOOD, row]}, TABLE)
    assert (found.where, found.message) == (where, message)
    assert found.hint == 'send {"inputs": [{"age": float64, "colour": text, "member": bool}]}'


@pytest.mark.parametrize("row", [GOOD, [1.5, "red", 0], GOOD | {"age": None}, GOOD | {"more": 1}])
def test_a_row_that_fits_a_table(row):
    assert misfit({"inputs": [row]}, TABLE) is None


@pytest.mark.parametrize("complaint", ["the finance model is dominant", "submissing", "annulled"])
def test_a_complaint_about_something_else_is_the_models(complaint):
    assert misfit({"inputs": [GOOD | {"age": None}]}, TABLE, complaint) is None


@pytest.mark.parametrize(("value", "spelled"), [(None, "null"), (math.nan, "nan"), (-math.inf, "-inf")])
def test_a_missing_value_is_named_where_the_model_speaks_of_it(value, spelled):
    request = {"inputs": [GOOD, GOOD | {"age": value}]}
    assert misfit(request, TABLE, "out of memory") is None
    found = misfit(request, TABLE, "Input X contains NaN")
    assert found.where == "inputs[1], column 'age'"
    assert found.message == f"{spelled}, which this model does not take"
    of_width = Signature(tensors=[Tensor(shape=[None, 2])])
    found = misfit({"inputs": [[1, 2], [3, value]]}, of_width, "Input X contains NaN")
    assert found.where == "inputs[1], column 1 (counted from 0)"
    one_each = Signature(tensors=[Tensor(shape=[None])])
    assert misfit({"inputs": [1, value]}, one_each, "Input X contains NaN").where == "inputs[1]"


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ([[[1, 2, 3], [4, None, 6]]], "inputs[0][1][1]"),
        ([[[1, 2, 3], [4, 5, 6]], [[1, None, 3], [4, 5, 6]]], "inputs[1][0][1]"),
    ],
)
def test_a_missing_value_is_named_in_arrays_too(rows, where):
    found = misfit({"inputs": rows}, ROWS, "it holds null, or something else")
    assert (found.where, found.message) == (where, "null, which this model does not take")


@pytest.mark.parametrize(
    ("rows", "where", "message"),
    [
        ([[[1, 2, 3], [4, 5, 6]], [[1, 2, 3]]], "inputs[1]", "1 value along axis 1; the model takes 2"),
        ([[[1, 2, 3], [4, 5]]], "inputs[0][1]", "2 values along axis 2; the model takes 3"),
        ([[1, 2]], "inputs[0][0]", "the value 1 where the model takes a list"),
        (
            [[[1, 2, [3]], [4, 5, 6]]],
            "inputs[0][0][2]",
            "a list where the model takes one value",
        ),
        ([[[1, 2, "3"], [4, 5, 6]]], "inputs[0][0][2]", "the text '3' where the model takes float32"),
        ([{"a": 1}], "inputs[0]", "a mapping where the model takes numbers in lists"),
        (np.zeros((4, 2, 5)), "inputs[0][0]", "5 values along axis 2; the model takes 3"),
    ],
)
def test_rows_that_do_not_fit_an_array(rows, where, message):
    found = misfit({"inputs": rows}, ROWS)
    assert (found.where, found.message) == (where, message)
    assert found.hint == 'send {"inputs": rows}, float32 of n x 2 x 3'


@pytest.mark.parametrize(
    ("row", "where", "message"),
    [
        ({"size": [1, 2]}, "inputs[0]", "lacks 'word'"),
        ({"size": [1], "word": 3}, "inputs[0]['size']", "1 value along axis 1; the model takes 2"),
        (
            {"size": [1, 2], "word": [3]},
            "inputs[0]['word']",
            "a list where the model takes one value",
        ),
        ([1], "inputs[0]", "a list; the model takes a mapping with size, word"),
    ],
)
def test_rows_that_do_not_fit_named_arrays(row, where, message):
    found = misfit({"inputs": [row]}, NAMED)
    assert (found.where, found.message) == (where, message)


@pytest.mark.parametrize(
    ("given", "where", "message"),
    [
        ({"size": [[1, 2]]}, "inputs", "lacks 'word'"),
        ({"size": [[1, 2, 3]], "word": [1]}, "inputs['size'][0]", "3 values along axis 1; the model takes 2"),
        ({"size": [[1, 2]], "word": [[1]]}, "inputs['word'][0]", "a list where the model takes one value"),
    ],
)
def test_lists_by_name_that_do_not_fit(given, where, message):
    found = misfit({"inputs": given}, NAMED)
    assert (found.where, found.message) == (where, message)


def test_lists_by_name_that_fit():
    assert misfit({"inputs": {"size": [[1, 2], [3, 4]], "word": [1, 2]}}, NAMED) is None


def test_a_request_without_inputs():
    found = misfit({"rows": []}, TABLE)
    assert found.message == "the request has no `inputs`"


@pytest.mark.parametrize(
    ("request_", "kind"),
    [([[1, 2]], "a list"), (None, "null"), ("x", "the text 'x'"), (np.zeros(2), "of type ndarray")],
)
def test_a_request_that_is_no_mapping(request_, kind):
    assert misfit(request_, ROWS).message == f"it is {kind}, and no mapping with `inputs`"
    assert misfit(request_, Signature()) is None


def test_a_request_without_rows():
    assert misfit({"inputs": []}, TABLE).message == "it has no rows"


def test_a_text_is_named_where_the_model_says_that_one_was_no_number():
    complaint = "could not convert string to float: 'red'"
    bare = Signature(tensors=[Tensor(shape=[None, 2])])
    found = misfit({"inputs": [[1, "2"], [3, "red"]]}, bare, complaint)
    assert found.where == "inputs[1], column 1 (counted from 0)"
    assert found.message == "the text 'red' where the model takes a number"
    assert misfit({"inputs": [[1, "2"], [3, "red"]]}, bare, "out of memory") is None


def test_nothing_is_said_where_nothing_is_known():
    assert misfit({"rows": []}, Signature()) is None
    assert misfit({"inputs": np.zeros((2, 2, 3), "float32")}, ROWS) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["age", "size", ""]), inner),
    max_leaves=12,
)


@given(JSON, st.sampled_from([TABLE, ROWS, NAMED]), st.sampled_from(["", "NaN"]))
def test_any_request_is_looked_at_without_an_error(value, signature, complaint):
    for request in (value, {"inputs": value}, {"inputs": [value]}):
        found = misfit(request, signature, complaint)
        assert found is None or (found.message and found.where and found.hint)
