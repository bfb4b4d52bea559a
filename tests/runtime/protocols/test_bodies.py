"""`.npy`, Arrow and images as bodies: arrays, without a list on the way; noise is refused."""

import io
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from truss.config import Column, Signature, Tensor
from truss.errors import MalformedBodyError, RequestError
from truss.runtime.codecs import decode_msgpack, encode_msgpack
from truss.runtime.protocols.bodies import decode_arrow, decode_image, decode_npy

TENSOR = Signature(tensors=[Tensor(dtype="uint8")])
TABLE = Signature(columns=[Column(name="b"), Column(name="a")])


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def arrow(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def png(array, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


@given(
    arrays.arrays(
        arrays.integer_dtypes() | arrays.floating_dtypes(sizes=(16, 32, 64)) | arrays.boolean_dtypes(),
        arrays.array_shapes(min_side=0, max_dims=4),
    ),
    st.booleans(),
)
def test_npy_is_read_as_it_was_written(array, fortran):
    read = decode_npy(npy(np.asfortranarray(array) if fortran else array), None)["inputs"]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_a_large_npy_is_not_copied():
    body = npy(np.arange(1 << 20, dtype="<f4"))
    tracemalloc.start()
    try:
        read = decode_npy(body, None)["inputs"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read[-1] == (1 << 20) - 1
    assert peak < 1 << 20  # the array has four times as many bytes


def test_a_large_array_in_msgpack_is_not_made_a_list():
    body = encode_msgpack({"inputs": np.arange(1 << 20, dtype="<f4")})
    tracemalloc.start()
    try:
        read = decode_msgpack(body)["inputs"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read[-1] == (1 << 20) - 1
    assert peak < 10 << 20  # a list of them takes 32 MiB


@pytest.mark.parametrize(
    "body",
    [
        b"",
        npy(np.zeros(3))[:-1],
        npy(np.zeros(3)) + b"x",
        npy(np.array([{}], object), allow_pickle=True),
        npy(np.zeros(3)).replace(b"(3,)", b"(-3,"),
        npy(np.zeros(3)).replace(b"(3,)", b"(9,)"),
        npy(np.zeros(3)).replace(b"<f8", b"|O8"),
        npy(np.zeros(3)).replace(b"{", b"("),
        npy(np.zeros((1, 0))).replace(b"(1, 0), }     ", b"(9999999, 0), }"),
    ],
)
def test_what_is_no_npy_is_refused(body):
    with pytest.raises(MalformedBodyError):
        decode_npy(body, None)


@given(st.data())
def test_damaged_npy_is_refused_or_read(data):
    good = bytearray(npy(np.arange(6, dtype="<i2").reshape(2, 3)))
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_npy(bytes(good), None)["inputs"].nbytes <= len(good)
    except RequestError:
        return


def test_columns_of_numbers_are_one_array_in_the_model_s_order():
    body = arrow(pa.table({"a": [1, 2], "b": [0.5, 1.5]}))
    assert decode_arrow(body, None)["inputs"].tolist() == [[1, 0.5], [2, 1.5]]
    assert decode_arrow(body, TABLE)["inputs"].tolist() == [[0.5, 1], [1.5, 2]]


def test_columns_with_texts_are_records():
    body = arrow(pa.table({"a": [1, 2], "b": ["x", None]}))
    assert decode_arrow(body, TABLE) == {"inputs": [{"a": 1, "b": "x"}, {"a": 2, "b": None}]}


def test_lists_of_one_length_are_an_array_over_the_body():
    flat = pa.array(np.arange(1 << 18, dtype="<f4"))
    inner = pa.FixedSizeListArray.from_arrays(flat, 1 << 8)
    body = arrow(pa.table({"x": pa.FixedSizeListArray.from_arrays(inner, 1 << 5)}))
    tracemalloc.start()
    try:
        read = decode_arrow(body, None)["inputs"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (read.shape, read.dtype) == ((32, 32, 256), np.dtype("f4"))
    assert peak < 1 << 19
    assert read[-1, -1, -1] == (1 << 18) - 1


@given(st.data())
def test_damaged_arrow_is_refused_or_read(data):
    good = bytearray(arrow(pa.table({"a": [1, 2], "b": ["x", "y"]})))
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_arrow(bytes(good), TABLE)
    except RequestError:
        return


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(1 << 30),
        pa.RunEndEncodedArray.from_arrays(pa.array([1 << 30], "int32"), pa.array([1.0])),
        pa.Array.from_buffers(pa.list_(pa.int8(), 0), 1 << 30, [None], children=[pa.array([], "int8")]),
    ],
    ids=["nulls", "runs", "lists"],
)
def test_a_few_bytes_of_arrow_that_say_they_are_many_rows_are_refused(column):
    with pytest.raises(MalformedBodyError, match="rows of 1 columns"):
        decode_arrow(arrow(pa.table({"a": column})), None)


def test_an_image_whose_pieces_lie_at_fractions_is_refused():
    """Pillow raises a TypeError. Found by scripts/fuzz."""
    tiff = png(np.zeros((2, 3, 3), np.uint8), "TIFF")
    whole, fraction = b"\x11\x01\x04\x00", b"\x11\x01\x0b\x00"  # where its rows are: a number, a float
    assert whole in tiff
    with pytest.raises(MalformedBodyError, match="not an image"):
        decode_image(tiff.replace(whole, fraction), TENSOR)


def test_an_image_is_pixels_for_a_model_of_arrays_and_a_file_for_others():
    pixels = np.arange(24, dtype="u1").reshape(2, 4, 3)
    np.testing.assert_array_equal(decode_image(png(pixels), TENSOR)["inputs"], pixels[None])
    assert decode_image(png(pixels[:, :, 0]), TENSOR)["inputs"].shape == (1, 2, 4, 1)
    assert decode_image(png(pixels, "JPEG"), TENSOR)["inputs"].shape == (1, 2, 4, 3)
    assert decode_image(png(pixels), None) == {"inputs": [png(pixels)]}


@given(st.binary(max_size=200))
def test_noise_is_refused_everywhere(noise):
    for decode in (decode_npy, decode_arrow, decode_image):
        with pytest.raises(RequestError):
            decode(noise, TENSOR)


def test_over_the_network(speaking):
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    pixels = np.zeros((2, 2, 3), "u1")
    for content_type, body, said in (
        ("application/x-npy", npy(array), {"predictions": (array * 2).tolist()}),
        (
            "application/vnd.apache.arrow.stream",
            arrow(pa.table({"a": [1.0], "b": [2.0]})),
            {"predictions": [[2, 4]]},
        ),
    ):
        response = speaking.request("POST", "/predict", body, {"Content-Type": content_type})
        assert (response.status, response.json()) == (200, said)
    response = speaking.request("POST", "/predict", b"no image", {"Content-Type": "application/x-npy"})
    assert (response.status, response.json()["error"]["type"]) == (400, "malformed_body")
    response = speaking.request("POST", "/predict", png(pixels), {"Content-Type": "image/png"})
    assert response.status == 200
