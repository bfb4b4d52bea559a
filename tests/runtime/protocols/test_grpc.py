"""gRPC: the wire against the messages that others' stubs write, health by its own client, inference."""

import struct
import threading
import tracemalloc

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_messages import MESSAGES, SPOKEN, request_of
from hypothesis import given
from hypothesis import strategies as st

from truss.errors import RequestError, RouteNotFoundError, TrussError
from truss.runtime.protocols import open_inference_grpc, tensors, wire


def decode(message):
    return open_inference_grpc.decode(message.SerializeToString(), ["model", "doubler"], None)


@pytest.mark.parametrize(("datatype", "place"), sorted(open_inference_grpc._CONTENTS.items()))
def test_contents_of_every_datatype_are_read_as_google_writes_them(datatype, place):
    field = MESSAGES["InferTensorContents"][place - 1][1]
    values = {"BOOL": [True, False], "BYTES": [b"a", "ü".encode()]}.get(datatype, [0, 100])
    if datatype.startswith("INT"):
        values = [-1, 100]
    if datatype == "INT64":
        values = [-(2**63), 2**63 - 1]
    if datatype == "UINT64":
        values = [0, 2**64 - 1]
    contents = SPOKEN["InferTensorContents"](**{field: values})
    request, _, _ = decode(
        request_of(SPOKEN["Tensor"](name="x", datatype=datatype, shape=[2], contents=contents))
    )
    if datatype == "BYTES":
        assert request["inputs"] == ["a", "ü"]
    else:
        assert request["inputs"].tolist() == values
        assert request["inputs"].dtype == np.dtype(tensors.NUMPY_NAMES[datatype])


def test_raw_contents_are_moved_once_at_most():
    sent = np.arange(1 << 18, dtype="<f4")
    message = request_of(
        SPOKEN["Tensor"](name="x", datatype="FP32", shape=[1, 1 << 18]), raw=[sent.tobytes()]
    )
    parameters = {"flag": {"bool_param": True}, "count": {"int64_param": -3}, "name": {"string_param": "a"}}
    for key, value in {**parameters, "share": {"double_param": 0.5}}.items():
        message.parameters.add(key=key, value=SPOKEN["InferParameter"](**value))
    body = message.SerializeToString()
    tracemalloc.start()
    try:
        request, _, _ = open_inference_grpc.decode(body, ["model"], None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(request["inputs"], sent[None])
    assert request["inputs"].flags.aligned
    assert peak < 1.2 * sent.nbytes  # as a list it takes eight times as much
    assert {**request, "inputs": 0} == {"flag": True, "count": -3, "name": "a", "share": 0.5, "inputs": 0}


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_packed_numbers_are_read_back(numbers):
    assert wire.integers(wire.BYTES, memoryview(wire.packed(numbers))).tolist() == numbers


@given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    with pytest.raises(TrussError):
        open_inference_grpc.decode(noise, ["model"], None)


@given(st.data())
def test_damaged_messages_are_refused_or_read(data):
    """Change bytes of a good one: the right shape, and wrong content."""
    tensor = SPOKEN["Tensor"](name="x", datatype="INT32", shape=[2], contents={"int_contents": [1, 2]})
    good = bytearray(request_of(tensor, tensor, raw=[b"12345678", b"abc"], id="7").SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        request, wanted, name = open_inference_grpc.decode(bytes(good), ["model"], None)
    except RequestError:
        return
    open_inference_grpc.encode({"y": np.zeros(1)}, wanted, name)
    assert request


def test_other_models_and_versions_are_not_found():
    for wrong in ({"model_name": "other"}, {"model_version": "2"}):
        with pytest.raises(RouteNotFoundError):
            decode(request_of(**wrong))


# --- over the network ---


@pytest.fixture(scope="module")
def channel(speaking):
    with grpc.insecure_channel(speaking.grpc_address) as opened:
        yield opened


def call(channel, method, message, answer):
    stub = channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=SPOKEN[answer].FromString,
    )
    return stub(message, timeout=30)


def test_health_is_what_every_prober_asks(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "inference.GRPCInferenceService"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert next(iter(stub.Watch(health_pb2.HealthCheckRequest()))).status == 1


def test_a_tensor_there_and_back(channel):
    sent = np.arange(300_000, dtype="<f4").reshape(3, -1)  # more than goes into a frame
    message = request_of(
        SPOKEN["Tensor"](name="x", datatype="FP32", shape=sent.shape), raw=[sent.tobytes()], id="7"
    )
    answer = call(channel, "ModelInfer", message, "ModelInferResponse")
    assert (answer.model_name, answer.model_version, answer.id) == ("model", "1", "7")
    assert [(output.name, output.datatype, list(output.shape)) for output in answer.outputs] == [
        ("predictions", "FP32", [3, 100_000])
    ]
    np.testing.assert_array_equal(
        np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(3, -1), sent * 2
    )


def test_information(channel):
    named = SPOKEN["Named"](name="doubler")
    assert call(channel, "ServerLive", named, "Flag").ready
    assert call(channel, "ServerReady", named, "Flag").ready
    assert call(channel, "ModelReady", named, "Flag").ready
    assert call(channel, "ServerMetadata", named, "Named").name == "truss"
    assert call(channel, "ModelMetadata", named, "ModelMetadataResponse").versions == ["1"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (request_of(model_name="other"), grpc.StatusCode.NOT_FOUND),
        (request_of(), grpc.StatusCode.INVALID_ARGUMENT),
        (
            request_of(SPOKEN["Tensor"](name="x", datatype="FP32", shape=[9]), raw=[b"1234"]),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
def test_errors_are_grpc_s(channel, message, code):
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", message, "ModelInferResponse")
    assert caught.value.code() is code
    assert caught.value.details()


def test_a_stream_answers_in_order_and_survives_a_bad_request(channel):
    def one(number):
        data = struct.pack("<q", number)
        return request_of(SPOKEN["Tensor"](name="x", datatype="INT64", shape=[1]), raw=[data], id=str(number))

    stub = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=SPOKEN["ModelStreamInferResponse"].FromString,
    )
    answers = list(stub(iter([one(1), request_of(), one(3)]), timeout=30))
    assert [answer.infer_response.id for answer in answers] == ["1", "", "3"]
    assert "no tensor" in answers[1].error_message


def test_an_answer_of_a_stream_leaves_before_the_next_request_is_there(channel):
    """The second request is sent when the first one's answer has come."""
    answered = threading.Event()

    def requests():
        for number in (1, 2):
            data = struct.pack("<q", number)
            yield request_of(
                SPOKEN["Tensor"](name="x", datatype="INT64", shape=[1]), raw=[data], id=str(number)
            )
            assert answered.wait(60)

    stub = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=SPOKEN["ModelStreamInferResponse"].FromString,
    )
    answers = stub(requests(), timeout=30)
    assert next(answers).infer_response.id == "1"
    answered.set()
    assert [answer.infer_response.id for answer in answers] == ["2"]
