"""What is known of a request's inputs: from the object, and from an example."""

import numpy as np
import pandas as pd
import pytest

from truss.config import Column, Signature, Tensor, parse_config, render_config
from truss.packaging.signature import as_config, completed

NOTHING = Signature()


def columns(**dtypes):
    return Signature(columns=[Column(name=name, dtype=dtype) for name, dtype in dtypes.items()])


def tensor(dtype, *shape):
    return Signature(tensors=[Tensor(dtype=dtype, shape=list(shape))])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"a": 1, "b": "x"}, {"a": 2.5, "b": None}], columns(a="float64", b="text")),
        ([{"a": 1, "b": True}, {"a": 2}], columns(a="int64")),
        ([{"a": 1}, {"a": "x"}], columns(a="any")),
        (pd.DataFrame({"a": [1.5], "b": ["x"]}), columns(a="float64", b="text")),
        ([[1, 2.5], [3, 4]], tensor("float64", None, 2)),
        ([[[1], [2]]], tensor("int64", None, 2, 1)),
        (np.zeros((3, 4, 5), "float32"), tensor("float32", None, 4, 5)),
        ([[1, "x"]], tensor("any", None, 2)),
        ([pd.Series([1, 2.5], index=["a", "b"])], tensor("float64", None, 2)),
        ([[1, 2], [3]], NOTHING),
        ([[[1, 2], [3]]], NOTHING),
        (["a text"], NOTHING),
        ([1, 2], NOTHING),
        ([], NOTHING),
        ([{"ids": [1, 2]}], NOTHING),
        ("a text", NOTHING),
    ],
)
def test_an_example_shows_what_inputs_hold(rows, expected):
    assert completed(NOTHING, {"inputs": rows}) == expected
    assert completed(NOTHING, {"instances": rows}) == expected


@pytest.mark.parametrize("request_", [None, {}, {"prompt": "a"}, [1, 2]])
def test_other_requests_say_nothing(request_):
    assert completed(NOTHING, request_) == NOTHING
    assert completed(columns(a="any"), request_) == columns(a="any")


def test_what_the_object_states_is_kept_and_its_open_types_filled():
    stated = columns(a="any", b="float32", c="any")
    assert completed(stated, {"inputs": [{"c": "x", "b": 1, "a": 2}]}) == columns(
        a="int64", b="float32", c="text"
    )
    assert completed(stated, {"inputs": [[2, 1, "x"]]}) == columns(a="int64", b="float32", c="text")
    assert completed(tensor("any", None, 3), {"inputs": [[1.5, 2, 3]]}) == tensor("float64", None, 3)
    assert completed(tensor("float32", None, None), {"inputs": [[1.5]]}) == tensor("float32", None, None)


@pytest.mark.parametrize(
    "signature",
    [
        NOTHING,
        columns(a="float64", b="any"),
        tensor("float32", None, 3),
        Signature(tensors=[Tensor(name="x"), Tensor(name="y", dtype="int64", shape=[None])]),
    ],
)
def test_the_config_holds_it(signature):
    text = render_config({"signature": as_config(signature)})
    assert parse_config(text).signature == signature


def test_tables_of_very_many_columns_are_not_listed():
    assert as_config(columns(**{f"c{number}": "any" for number in range(3000)})) == {}
