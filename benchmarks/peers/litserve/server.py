"""A LitServe server for one workload: `server.py PORT MAX_BATCH_SIZE BATCH_TIMEOUT`."""

import base64
import os
import sys

import litserve
import numpy as np
from bench_models import load_model


class Api(litserve.LitAPI):
    """One item per request."""

    def setup(self, device):
        """Load the model; everything runs on the CPU here."""
        self.model = load_model(os.environ["BENCH_WORKLOAD"])

    def decode_request(self, request):
        """The item: a tensor as base64, or JSON."""
        if "base64" in request:
            return np.frombuffer(base64.b64decode(request["base64"]), np.float32).reshape(3, 224, 224)
        return request["inputs"][0]

    def batch(self, inputs):
        """The model takes a list."""
        return inputs

    def predict(self, x):
        """A list of answers for a list of items; one for one when batching is off."""
        return self.model(x) if isinstance(x, list) and self.max_batch_size > 1 else self.model([x])[0]

    def unbatch(self, output):
        """One answer per item."""
        return output

    def encode_response(self, output):
        """As the other servers answer."""
        return {"predictions": [output]}


if __name__ == "__main__":
    port, size, timeout = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    api = Api(max_batch_size=size, batch_timeout=timeout)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
