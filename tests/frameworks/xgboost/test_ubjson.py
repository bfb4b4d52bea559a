"""Files in UBJSON that are whole, and those that are not."""

import struct

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from truss.frameworks.xgboost.ubjson import is_whole


def size(number):
    return b"L" + struct.pack(">q", number)


def written(value, counted):
    """A value as the library writes it; containers with their sizes before them, or an end behind them."""
    if isinstance(value, dict):
        parts = [size(len(key.encode())) + key.encode() + written(one, counted) for key, one in value.items()]
        return counts(b"{", parts, b"}", counted)
    if isinstance(value, list):
        return counts(b"[", [written(one, counted) for one in value], b"]", counted)
    if isinstance(value, np.ndarray):
        return b"[$d#" + size(len(value)) + value.astype(">f4").tobytes()
    if isinstance(value, str):
        return b"S" + size(len(value.encode())) + value.encode()
    if isinstance(value, bool) or value is None:
        return {True: b"T", False: b"F", None: b"Z"}[value]
    return b"l" + struct.pack(">i", value) if isinstance(value, int) else b"D" + struct.pack(">d", value)


def counts(begin, parts, end, counted):
    body = b"".join(parts)
    return begin + b"#" + size(len(parts)) + body if counted else begin + body + end


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.lists(st.floats(width=32), max_size=5).map(np.array)
)
values = st.recursive(
    leaves, lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=5), one, max_size=4)
)


@given(st.dictionaries(st.text(max_size=8), values, max_size=4), st.booleans())
def test_only_a_whole_value_is_whole(value, counted):
    content = written(value, counted)
    assert is_whole(content)
    assert not is_whole(content + b"Z")
    assert not any(is_whole(content[:end]) for end in range(len(content)))


@given(st.binary(max_size=200))
def test_whatever_it_is_something_is_said_of_it(content):
    assert is_whole(b"{L" + content) in (True, False)


@pytest.mark.parametrize("booster", ["gbtree", "gblinear", "dart"])
def test_what_the_library_writes_is_whole_and_no_beginning_of_it(booster):
    model = xgboost.XGBClassifier(n_estimators=3, booster=booster).fit(*load_iris(return_X_y=True))
    content = bytes(model.get_booster().save_raw("ubj"))
    assert is_whole(content)
    assert not any(is_whole(content[:end]) for end in range(len(content)))
