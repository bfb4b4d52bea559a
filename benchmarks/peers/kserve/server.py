"""A KServe model for one workload."""

import os

from bench_models import load_model, sleep_async
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_response

WORKLOAD = os.environ["BENCH_WORKLOAD"]


class Plain(Model):
    """Takes `instances` of the protocol V1, or the one input of V2."""

    def load(self):
        """Load the model; true says that it is ready."""
        self.model = load_model(WORKLOAD)
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None):
        """One call per request."""
        items = payload["instances"] if isinstance(payload, dict) else payload.inputs[0].as_numpy()
        return get_predict_response(payload, self.model(items), self.name)


class Waiting(Model):
    """The async model."""

    async def predict(self, payload, headers=None):
        """One call per request."""
        return {"predictions": await sleep_async(payload["instances"])}


if __name__ == "__main__":
    model = Waiting("model") if WORKLOAD == "sleep-async" else Plain("model")
    model.load()
    ModelServer().start([model])
