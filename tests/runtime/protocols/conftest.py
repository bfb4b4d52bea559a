"""One server that answers whatever protocol it is asked in, for the tests of all of them."""

import re
import textwrap

import pytest

from truss.testing.server import running_server

MODEL = '''
import numpy as np


class Model:
    """Says what reached it."""

    def __init__(self, **kwargs):
        pass

    def predict(self, request):
        if request.get("fail"):
            raise ValueError("as asked")
        if "a" in request:
            return {"sum": request["a"] + request["b"], "kind": [type(request["a"]).__name__]}
        rows = request["inputs"]
        if request.get("describe"):
            return {"kind": type(rows).__name__, "dtype": str(getattr(rows, "dtype", "")), "rows": len(rows)}
        if isinstance(rows, np.ndarray):
            return {"predictions": rows * 2}
        return {"predictions": [row * 2 for row in rows]}

    def chat_completions(self, request):
        said = request["messages"][-1]["content"]
        if said == "fail":
            raise ValueError("as asked")
        if request.get("stream") and said != "whole":
            return self._chunks(said, request["model"])
        message = {"role": "assistant", "content": said.upper()}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {"id": "chat-1", "object": "chat.completion", "created": 1, "model": request["model"],
                "choices": [choice], "usage": usage}

    def _chunks(self, said, model):
        for letter in said:
            choice = {"index": 0, "delta": {"content": letter.upper()}, "finish_reason": None}
            yield {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": model,
                   "choices": [choice]}

    def embeddings(self, request):
        texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
        vectors = [[float(len(text)), 0.5] for text in texts]
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        return {"object": "list", "model": request["model"], "data": data,
                "usage": {"prompt_tokens": 1, "total_tokens": 1}}
'''


@pytest.fixture(scope="session")
def speaking_truss(tmp_path_factory):
    """The folder of a Truss named `doubler`."""
    folder = tmp_path_factory.mktemp("protocols") / "doubler"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "model_name: doubler\nruntime: {batching: {mode: rows}, grpc: {port: 0}}\n"
    )
    (folder / "model" / "__init__.py").touch()
    (folder / "model" / "model.py").write_text(textwrap.dedent(MODEL))
    return folder


@pytest.fixture(scope="session")
def speaking(speaking_truss):
    """A server over it."""
    with running_server(speaking_truss) as server:
        said = re.search(r"listening for gRPC on (\S+)", "".join(server.log))
        server.grpc_address = said.group(1)
        yield server
