"""What NVIDIA's client of the Open Inference Protocol gets: run in an environment of its own.

Arguments: the server's HTTP address, its gRPC address.
"""

import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

http, grpc = sys.argv[1:]


def refusal(client, model, inputs):
    """What the client says of a request that is wrong; nothing if it was answered."""
    try:
        client.infer(model, inputs)
    except InferenceServerException as error:
        return error.message()
    return None


def ask(module, client, **options):
    """Two tensors there, their sum back, and everything else that the client can ask."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("doubler")
    assert client.is_model_ready("doubler", "1")
    client.get_server_metadata()
    client.get_model_metadata("doubler")

    sent = np.arange(200_000, dtype=np.float32).reshape(2, -1)
    tensor = module.InferInput("x", sent.shape, "FP32")
    tensor.set_data_from_numpy(sent, **options)
    answer = client.infer("doubler", [tensor], request_id="7")
    np.testing.assert_array_equal(answer.as_numpy("predictions"), sent * 2)
    assert answer.as_numpy("predictions").dtype == np.float32

    for dtype, name in ((np.int8, "INT8"), (np.uint64, "UINT64"), (np.float16, "FP16"), (np.float64, "FP64")):
        sent = np.array([1, 2, 3], dtype)
        tensor = module.InferInput("x", sent.shape, name)
        tensor.set_data_from_numpy(sent)
        answer = client.infer("doubler", [tensor]).as_numpy("predictions")
        assert answer.dtype == dtype, (answer.dtype, dtype)
        np.testing.assert_array_equal(answer, sent * 2)

    texts = np.array(["a", "ü"], object)
    tensor = module.InferInput("x", texts.shape, "BYTES")
    tensor.set_data_from_numpy(texts)
    assert [text.decode() for text in client.infer("doubler", [tensor]).as_numpy("predictions")] == [
        "aa",
        "üü",
    ]

    pair = [module.InferInput(name, [2], "INT32") for name in ("a", "b")]
    for one in pair:
        one.set_data_from_numpy(np.array([1, 2], np.int32))
    wanted = [module.InferRequestedOutput("sum")]
    answer = client.infer("doubler", pair, outputs=wanted)
    assert answer.as_numpy("sum").tolist() == [2, 4]
    assert answer.as_numpy("kind") is None

    assert refusal(client, "other", pair)
    assert refusal(client, "doubler", pair[:1] * 2)


ask(tritonclient.http, tritonclient.http.InferenceServerClient(http), binary_data=True)
client = tritonclient.http.InferenceServerClient(http)
tensor = tritonclient.http.InferInput("x", [2], "FP32")
tensor.set_data_from_numpy(np.array([1, 2], np.float32), binary_data=False)
output = tritonclient.http.InferRequestedOutput("predictions", binary_data=False)
assert client.infer("doubler", [tensor], outputs=[output]).as_numpy("predictions").tolist() == [2, 4]
ask(tritonclient.grpc, tritonclient.grpc.InferenceServerClient(grpc))
