"""The Open Inference Protocol's bodies: what becomes of tensors on the way to a model and back."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.config import Column, Signature, Tensor
from truss.errors import AnswerEncodingError, InvalidInputError, MalformedBodyError, RequestError, TrussError
from truss.model import encode_json
from truss.runtime.protocols import envelope, open_inference, tensors
from truss.runtime.protocols.open_inference import Wanted

DTYPES = {name: np.dtype(dtype) for name, dtype in tensors.NUMPY_NAMES.items()}


def binary_body(arrays, **rest):
    """A body with all tensors behind the JSON, and the size of that."""
    inputs, data = [], b""
    for name, array in arrays.items():
        raw = bytes(tensors.raw(tensors.as_array(name, array)))
        inputs.append(
            {
                "name": name,
                "shape": list(np.shape(array)),
                "datatype": tensors.datatype(tensors.as_array(name, array)),
                "parameters": {"binary_data_size": len(raw)},
            }
        )
        data += raw
    head = json.dumps({"inputs": inputs, **rest}).encode()
    return head + data, len(head)


def decode(content, signature=None):
    return open_inference.decode(json.dumps(content).encode(), None, signature)


def one(shape, datatype, data, name="x"):
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


def written(answer, wanted=None):
    """What a client reads: outputs by name."""
    parts, json_size = open_inference.encode(answer, wanted or Wanted(), "model")
    body = b"".join(parts)
    head = json.loads(body[:json_size])
    position, found = json_size or 0, {}
    for output in head["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[output["name"]] = (output["datatype"], output["shape"], output["data"])
        else:
            found[output["name"]] = (output["datatype"], output["shape"], body[position : position + size])
            position += size
    return head, found


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_every_datatype_arrives_as_it_was_sent(datatype):
    sent = np.array([[0, 1, 1], [1, 0, 1]], DTYPES[datatype])
    body, json_size = binary_body({"x": sent})
    request, _ = open_inference.decode(body, json_size, None)
    assert request["inputs"].dtype == sent.dtype
    np.testing.assert_array_equal(request["inputs"], sent)
    from_json, _ = decode(one([2, 3], datatype, sent.tolist()))
    np.testing.assert_array_equal(from_json["inputs"], sent)
    assert from_json["inputs"].dtype == sent.dtype


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_every_datatype_leaves_as_the_model_gave_it(datatype):
    given_ = np.array([[0, 1, 1], [1, 0, 1]], DTYPES[datatype])
    _, plain = written({"y": given_})
    assert plain == {"y": (datatype, [2, 3], given_.reshape(-1).tolist())}
    _, raw = written({"y": given_}, Wanted(binary=True))
    assert raw == {"y": (datatype, [2, 3], given_.tobytes())}


def test_bfloat16_becomes_float32():
    halves = (np.array([1.5, -2.0], "<f4").view("<u4") >> 16).astype("<u2")
    array = tensors.from_raw("x", "BF16", [2], memoryview(halves.tobytes()))
    assert array.dtype == np.float32
    assert array.tolist() == [1.5, -2.0]


def test_texts_are_python_s_own_nested_by_shape():
    body, json_size = binary_body({"x": np.array([["a", "ü"], ["", "d"]], object)})
    request, _ = open_inference.decode(body, json_size, None)
    assert request["inputs"] == [["a", "ü"], ["", "d"]]
    assert decode(one([2], "BYTES", ["a", "b"]))[0] == {"inputs": ["a", "b"]}
    assert tensors.split_bytes("x", memoryview(b"\x01\0\0\0\xff"), 1) == [b"\xff"]


def test_a_large_tensor_is_neither_copied_nor_made_a_list():
    sent = np.arange(1 << 20, dtype="<f4").reshape(1024, 1024)  # 4 MiB; as a list it takes 32
    body, json_size = binary_body({"x": sent}, parameters={"binary_data_output": True})
    sealed = bytearray(64 + envelope.LONGEST_NAME + len(body) + 64)
    start = envelope.seal("model", json_size)
    whole = np.frombuffer(sealed, "u1")
    shift = -whole.ctypes.data % 64  # memory shared with the front begins with a page
    place = memoryview(sealed)[shift : shift + len(start) + len(body)]
    place[:] = start + body
    tracemalloc.start()
    try:
        opened = envelope.unseal(place)
        request, wanted = open_inference.decode(opened.body, opened.json_size, None)
        array = request["inputs"]
        before_encoding = tracemalloc.get_traced_memory()[1]
        parts, _ = open_inference.encode({"y": array}, wanted, "model")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.shares_memory(array, whole)
    assert array.flags.aligned
    assert before_encoding < 100_000
    assert peak < 200_000
    assert bytes(parts[1]) == sent.tobytes()


@given(st.text(max_size=300), st.integers(0, 10_000))
def test_the_envelope_puts_tensors_where_they_are_aligned(name, json_size):
    sealed = envelope.seal(name, json_size)
    opened = envelope.unseal(sealed + b"rest")
    assert (len(sealed) + json_size) % 64 == 0
    assert opened.json_size == json_size
    assert bytes(opened.body) == b"rest"
    assert name.startswith(opened.name.rstrip("\ufffd"))


def test_a_single_tensor_is_the_inputs_and_parameters_stand_beside_it():
    request, wanted = decode(
        {**one([1, 2], "FP32", [1, 2]), "id": "7", "parameters": {"top": 3, "timeout": 9}}
    )
    assert set(request) == {"inputs", "top"}
    assert wanted.id == "7"


def test_several_tensors_are_keys_or_rows_by_the_signature():
    content = {
        "inputs": one([2], "INT64", [1, 2], "a")["inputs"] + one([2, 1], "FP32", [3, 4], "b")["inputs"]
    }
    named, _ = decode(content)
    assert named["a"].tolist() == [1, 2]
    assert named["b"].tolist() == [[3], [4]]
    tensors_ = Signature(tensors=[Tensor(name="a"), Tensor(name="b")])
    rows = decode(content, tensors_)[0]["inputs"]
    assert [(row["a"].item(), row["b"].tolist()) for row in rows] == [(1, [3]), (2, [4])]
    columns = Signature(columns=[Column(name="a"), Column(name="b")])
    assert decode(content, columns)[0] == {"inputs": [{"a": 1, "b": 3.0}, {"a": 2, "b": 4.0}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "no tensor"),
        (one([2], "FP32", [1]), "has 1 values"),
        (one([-1], "FP32", [1]), r"\[-1\]"),
        (one([1] * 40, "FP32", [1]), "shape"),
        (one([2**31, 0], "FP32", []), "no more than there are values"),
        (one([1], "FP99", [1]), "FP99"),
        (one([1], "FP32", ["a"]), "not FP32"),
        (one([1], "INT8", [1000]), "INT8"),
        (one([2], "FP32", [[1], [2, 3]]), "FP32"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}, "no data"),
        ({"inputs": one([1], "FP32", [1])["inputs"] * 2}, "two inputs"),
        (
            {
                "inputs": [
                    {"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
                ]
            },
            "0 bytes",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(content, said):
    with pytest.raises(RequestError, match=said):
        decode(content)


@pytest.mark.parametrize(("change", "size"), [(b"x", 0), (b"", 1), (b"", -1), (b"", 10_000)])
def test_sizes_that_do_not_add_up_are_refused(change, size):
    body, json_size = binary_body({"x": np.zeros(3, "<f4")})
    with pytest.raises((MalformedBodyError, InvalidInputError)):
        open_inference.decode(body + change, json_size + size, None)


def test_a_text_without_rows_among_several_tensors_is_refused():
    """It has a length, but that of its letters. Found by scripts/fuzz."""
    columns = Signature(columns=[Column(name="a"), Column(name="b", dtype="text")])
    content = {"inputs": one([2], "INT32", [1, 2], "a")["inputs"] + one([], "BYTES", ["xy"], "b")["inputs"]}
    with pytest.raises(InvalidInputError, match="without rows"):
        decode(content, columns)
    content["inputs"][1]["data"] = ["x"]
    content["inputs"][0] = one([1], "INT32", [1], "a")["inputs"][0]
    with pytest.raises(InvalidInputError, match="without rows"):
        decode(content, columns)
    assert decode(content)[0]["b"] == "x"  # of a model that does not name its inputs


def test_outputs_are_those_that_were_asked_for_in_their_form():
    answer = {"a": [1, 2], "b": ["x", "y"], "c": [0.5]}
    wanted = Wanted("7", {"b": True, "a": False}, binary=True)
    head, found = written(answer, wanted)
    assert head["id"] == "7"
    assert (head["model_name"], head["model_version"]) == ("model", "1")
    assert list(found.items()) == [
        ("b", ("BYTES", [2], struct.pack("<I", 1) + b"x" + struct.pack("<I", 1) + b"y")),
        ("a", ("INT64", [2], [1, 2])),
    ]
    with pytest.raises(InvalidInputError, match="no output 'z'"):
        written(answer, Wanted(outputs={"z": False}))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ([1.5], {"predictions": ("FP64", [1], [1.5])}),
        (7, {"predictions": ("INT64", [1], [7])}),
        ("text", {"predictions": ("BYTES", [1], ["text"])}),
        (None, {"predictions": ("BYTES", [1], ["null"])}),
        ({"predictions": ["a", "b"]}, {"predictions": ("BYTES", [2], ["a", "b"])}),
        ({"p": [{"label": "a"}, {"label": "b"}]}, {"p": ("BYTES", [2], ['{"label":"a"}', '{"label":"b"}'])}),
        ({"p": [[1], [2, 3]]}, {"p": ("BYTES", [2], ["[1]", "[2,3]"])}),
        ({"p": [1, None]}, {"p": ("BYTES", [2], ["1", "null"])}),
        ({"p": np.array(["2020-01-01"], "M8[D]")}, {"p": ("BYTES", [1], ["2020-01-01"])}),
        ({"p": np.array([1, 2], ">i4")}, {"p": ("INT32", [2], [1, 2])}),
        ({"p": []}, {"p": ("FP64", [0], [])}),
    ],
)
def test_whatever_a_model_returns_has_a_form(answer, found):
    assert written(answer)[1] == found


def test_what_has_no_form_is_the_model_s_fault():
    with pytest.raises(AnswerEncodingError, match="complex"):
        written({"p": np.array([1j])})
    with pytest.raises(AnswerEncodingError, match="no text"):
        written({"p": [b"\xff"]})


def test_metadata_tells_the_signature():
    signature = Signature(tensors=[Tensor(name="x", dtype="float32", shape=[None, 3]), Tensor(name="y")])
    assert open_inference.metadata("m", signature)["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "y", "datatype": "FP32", "shape": [-1]},
    ]
    columns = Signature(columns=[Column(name="age", dtype="int64"), Column(name="city", dtype="text")])
    assert [entry["datatype"] for entry in open_inference.metadata("m", columns)["inputs"]] == [
        "INT64",
        "BYTES",
    ]


# --- bodies that nobody means well with: python -m pytest --hypothesis-profile=fuzz THIS ---

numbers = st.integers(-(2**40), 2**70) | st.floats() | st.booleans() | st.none()
values = st.recursive(numbers | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=8)
tensor = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", ""]),
        "shape": st.lists(st.sampled_from([-1, 0, 1, 2, 3, 2**31, 2**63, 2**64]), max_size=3),
        "datatype": st.sampled_from([*tensors.NUMPY_NAMES, "BF16", "BYTES", "", "FP31"]),
    },
    optional={
        "data": values,
        "parameters": st.none() | st.fixed_dictionaries({"binary_data_size": numbers | st.integers(0, 16)}),
    },
)
signatures = st.sampled_from(
    [
        None,
        Signature(columns=[Column(name="a"), Column(name="b", dtype="text")]),
        Signature(tensors=[Tensor(name="a"), Tensor(name="b")]),
    ]
)


@given(st.lists(tensor, max_size=3), st.binary(max_size=24), st.integers(-3, 3), signatures)
def test_requests_of_the_right_form_and_wrong_content_are_refused_or_read(inputs, data, shift, signature):
    head = json.dumps({"inputs": inputs}).encode()
    try:
        request, wanted = open_inference.decode(head + data, len(head) + shift, signature)
    except RequestError:
        return
    encode_json(request.get("inputs", [0]))
    open_inference.encode({"y": np.zeros(1)}, wanted, "m")


@given(st.binary(max_size=300), st.integers(0, 400) | st.none())
def test_noise_is_refused(noise, json_size):
    with pytest.raises(RequestError):
        open_inference.decode(noise, json_size, None)


@given(st.binary(max_size=60))
def test_noise_in_an_envelope_is_opened_or_refused(noise):
    try:
        opened = envelope.unseal(noise)
    except TrussError:
        return
    assert len(opened.body) <= len(noise)


@given(values)
def test_every_answer_has_a_form_or_is_refused(answer):
    try:
        written(answer, Wanted(binary=True))
    except AnswerEncodingError:
        return
