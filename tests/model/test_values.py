"""What Python values become in JSON answers."""

import collections
import dataclasses
import datetime as dt
import enum
import pathlib
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
import torch

from truss.errors import AnswerEncodingError
from truss.model import encode_json, to_plain


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.arange(6).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]),
        (np.array([1.5, np.nan, np.inf, -np.inf], dtype="f4"), [1.5, None, None, None]),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array(["2020-01-02"], dtype="M8[D]"), ["2020-01-02"]),
        (np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), [{"a": 1, "b": 2.0}]),
        (np.array([None, "x"], dtype=object), [None, "x"]),
        (torch.ones(2, dtype=torch.bfloat16), [1.0, 1.0]),
        (torch.tensor(3, requires_grad=False), 3),
        (torch.ones(1, requires_grad=True), [1.0]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Index(["a"]), ["a"]),
        (pd.Timestamp("2020-01-02"), "2020-01-02T00:00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (Decimal("1.10"), "1.10"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (dt.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05"),
        (dt.timedelta(seconds=90), "PT90S"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\x01", "AAE="),
        ({3}, [3]),
        ((1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (collections.deque([1]), [1]),
        ({"a": 1}.values(), [1]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.UserDict(a=1), {"a": 1}),
        (Point(1, 2.0), {"x": 1, "y": 2.0}),
        (Colour.RED, "red"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        ({np.int64(1): 1, "b": 2}, {"1": 1, "b": 2}),
        ({True: 1, None: 2}, {"true": 1, "null": 2}),
    ],
)
def test_values(value, plain):
    assert to_plain({"predictions": value}) == {"predictions": plain}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"predictions": [1, {"x": object()}]}, "`predictions[1].x` is a object"),
        (object(), "the answer is a object"),
        ({"a": np.array([1j])}, "`a` is a numpy.ndarray"),
        ({(1, 2): object()}, "`(1, 2)` is a object"),
        ({frozenset(): 1}, "JSON keys are strings"),
        ([lambda: 1], "`[0]` is a function"),
    ],
)
def test_what_has_no_json_form_is_named_by_path_and_type(value, text):
    with pytest.raises(AnswerEncodingError) as caught:
        encode_json(value)
    assert text in caught.value.message
    assert caught.value.hint


def test_a_value_that_contains_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(AnswerEncodingError, match="nested"):
        encode_json(loop)
