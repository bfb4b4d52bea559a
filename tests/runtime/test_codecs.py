"""Bodies in JSON and msgpack: round trips, what each Python value becomes, and what bad bodies are told."""

import contextlib
import datetime as dt
import json
import math
from decimal import Decimal
from uuid import UUID

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from truss.errors import AnswerEncodingError, MalformedBodyError
from truss.runtime.codecs import decode_json, decode_msgpack, encode_json, encode_msgpack

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
arrays = npst.arrays(
    dtype=st.sampled_from(["f2", "f4", "f8", "i1", "i4", "i8", "u1", "u8", "b1", "<U3", "c8"]),
    shape=npst.array_shapes(min_dims=1, min_side=0, max_side=3),
)


@given(trees)
def test_json_round_trips(value):
    assert decode_json(encode_json(value)) == value


@given(trees)
def test_json_is_what_the_standard_library_reads(value):
    assert json.loads(encode_json(value)) == value


@given(trees)
def test_msgpack_round_trips(value):
    assert decode_msgpack(encode_msgpack(value)) == value


@given(arrays)
def test_arrays_round_trip_through_msgpack_with_dtype_and_shape(array):
    back = decode_msgpack(encode_msgpack({"inputs": array}))["inputs"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2024, 2, 29, 1, 2, 3, 4),
        dt.datetime(2024, 2, 29, tzinfo=dt.timezone.utc),
        dt.date(2024, 2, 29),
        dt.time(1, 2, 3),
        dt.timedelta(1, 2, 3),
        Decimal("1.10"),
        UUID(int=7),
        b"bytes",
        math.inf,
    ],
)
def test_values_beyond_json_survive_msgpack(value):
    assert decode_msgpack(encode_msgpack([{"x": value}])) == [{"x": value}]


def test_msgpack_reads_what_the_msgpack_package_writes_in_the_array_convention():
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    marked = {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": array.shape, b"data": array.tobytes()}
    back = decode_msgpack(msgpack.packb({"inputs": marked}))
    np.testing.assert_array_equal(back["inputs"], array)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_a_clear_refusal(body):
    for decode in (decode_json, decode_msgpack):
        with contextlib.suppress(MalformedBodyError):
            decode(body)


MARKS = [
    *(b"__dt_%b__" % kind for kind in (b"datetime_iso", b"date_iso", b"time_iso", b"timedelta")),
    *(b"__decimal__", b"__uuid__"),
]
inner = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4) | st.binary(max_size=16),
    lambda items: st.lists(items, max_size=3),
    max_leaves=6,
)
kinds = st.sampled_from(["<f4", "|b1", "<M8[s]", "|V2", "|V0", "|O", "f4,(", "(2,)<i2", b"<u8"])
lengths = st.lists(st.sampled_from([-1, 0, 1, 2, 2**31, 2**63]), max_size=3)
marked_maps = st.fixed_dictionaries(
    {b"data": inner},
    optional={
        b"nd": st.booleans(),
        b"type": kinds | st.lists(st.lists(st.text("ab", max_size=1) | kinds | lengths, max_size=3)) | inner,
        b"shape": lengths | inner,
        **dict.fromkeys(MARKS, st.just(True)),
    },
)


@given(marked_maps)
def test_maps_with_marks_and_wrong_content_are_read_or_refused(value):
    with contextlib.suppress(MalformedBodyError):
        decode_msgpack(msgpack.packb(value))


@pytest.mark.parametrize(
    "value",
    [
        {b"__decimal__": True, b"data": "abc"},
        {b"__dt_timedelta__": True, b"data": [10**18, 0, 0]},
        {b"__dt_timedelta__": True, b"data": [1]},
        {b"__dt_datetime_iso__": True, b"data": 3},
        {b"nd": False, b"type": "<f4", b"data": b""},
        {b"nd": True, b"type": "f4,(", b"data": b"1234", b"shape": [1]},
        {b"nd": True, b"type": [["a"]], b"data": b"1234", b"shape": [1]},
        {b"nd": True, b"type": "<f4", b"data": b"", b"shape": [2**31, 0]},
    ],
)
def test_marks_that_hold_no_such_value_are_refused(value):
    with pytest.raises(MalformedBodyError, match="not msgpack as this route takes it"):
        decode_msgpack(msgpack.packb(value))


def test_records_with_arrays_in_them_round_trip():
    array = np.array([(1, [2, 3])], [("a", "<i2"), ("b", "<f4", (2,))])
    back = decode_msgpack(encode_msgpack(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_arrays_of_objects_are_refused_both_ways():
    marked = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b"12345678"}
    with pytest.raises(MalformedBodyError, match="objects"):
        decode_msgpack(msgpack.packb(marked))
    with pytest.raises(AnswerEncodingError):
        encode_msgpack(np.array([object()]))


def test_python_literals_get_the_command_that_was_meant():
    with pytest.raises(MalformedBodyError) as caught:
        decode_json(b"{'inputs': [\"it's\", True, None]}")
    assert (
        caught.value.hint
        == """JSON takes double quotes; send it as -d '{"inputs": ["it'\\''s", true, null]}'"""
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"inputs": [1,}', "line 1 column 15"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_json_is_told_what_is_wrong_and_where(body, message):
    with pytest.raises(MalformedBodyError, match=message):
        decode_json(body)


def test_requests_may_hold_the_numbers_json_lacks():
    assert decode_json(b'{"inputs": [NaN, Infinity]}')["inputs"] == pytest.approx(
        [math.nan, math.inf], nan_ok=True
    )
