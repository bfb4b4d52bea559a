"""An MLServer runtime for the workloads that scikit-learn's own runtime does not serve."""

import os

import numpy as np
from bench_models import load_model
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceResponse

WORKLOAD = os.environ["BENCH_WORKLOAD"]


class Runtime(MLModel):
    """Decodes the one input by its content type and encodes answers as a tensor."""

    async def load(self):
        """Load the model; true says that it is ready."""
        self.model = load_model(WORKLOAD)
        return True

    async def predict(self, payload):
        """Answer the rows of a request, which are those of several when batching is on."""
        answers = np.asarray(self.model(items(payload.inputs[0])))
        output = NumpyCodec.encode_output("predictions", answers)
        return InferenceResponse(model_name=self.name, outputs=[output])


def items(tensor):
    """One item per row."""
    if WORKLOAD == "embed":
        return StringCodec.decode_input(tensor)
    if WORKLOAD in ("tensor-binary", "tensor-inference", "tensor-grpc"):
        bodies = tensor.data.root if WORKLOAD == "tensor-grpc" else Base64Codec.decode_input(tensor)
        return np.frombuffer(b"".join(bodies), np.float32).reshape(len(bodies), 3, 224, 224)
    return NumpyCodec.decode_input(tensor)
