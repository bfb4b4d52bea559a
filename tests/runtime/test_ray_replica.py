"""A replica of Ray Serve, driven as Serve drives it; with Ray itself it is in tests/deploy/test_ray.py."""

import asyncio
import json
import logging

import pytest

from truss.runtime import ray_replica
from truss.runtime.ray_replica import Health, Replica, application


@pytest.fixture(autouse=True)
def own_process(monkeypatch):
    """A replica has a process of its own, and sets its log and its devices; here they are set back."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)


class Serve:
    """What a replica's application gets from Serve."""

    def __init__(self, replica):
        self._replica = replica
        self._signals = asyncio.Queue()
        self._said = asyncio.Queue()

    async def __aenter__(self):
        self._signals.put_nowait({"type": "lifespan.startup"})
        self._life = asyncio.create_task(
            self._replica({"type": "lifespan"}, self._signals.get, self._said.put)
        )
        assert (await self._said.get())["type"] == "lifespan.startup.complete"
        return self

    async def __aexit__(self, *_):
        self._signals.put_nowait({"type": "lifespan.shutdown"})
        assert (await self._said.get())["type"] == "lifespan.shutdown.complete"
        await self._life

    async def post(self, path, body, root=""):
        status, content = await self._ask("POST", path, body, root)
        return status, json.loads(content)

    async def get(self, path, root):
        return await self._ask("GET", path, b"", root)

    async def _ask(self, method, path, body, root):
        scope = {
            "type": "http",
            "scheme": "http",
            "method": method,
            "path": path,
            "root_path": root,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"host", b"ray:8000")],
        }
        sent = []
        messages = [{"type": "http.request", "body": body}]

        async def receive():
            if messages:
                return messages.pop()
            return await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        await self._replica(scope, receive, send)
        return sent[0]["status"], b"".join(one.get("body", b"") for one in sent)


def test_requests_below_the_prefix_are_the_models(small):
    async def scenario():
        replica = Replica(small("one", "7"))
        async with Serve(replica) as serve:
            assert await replica.complaint() == ""
            right = {"predictions": [7]}
            assert await serve.post("/one/v1/models/model:predict", b"{}", "/one") == (200, right)
            assert await serve.post("/predict", b"{}") == (200, right)
            status, said = await serve.post("/one/nowhere", b"{}", "/one")
            assert (status, said["error"]["type"]) == (404, "not_found")
            _, page = await serve.get("/one/docs", "/one")
            assert b"http://ray:8000/one/v1/models/model:predict" in page
            _, document = await serve.get("/one/openapi.json", "/one")
            assert json.loads(document)["servers"] == [{"url": "/one"}]

    asyncio.run(scenario())


def test_a_model_that_cannot_be_loaded_is_told_by_the_health_check(small):
    folder = small("broken", config="requirements: [no-such-package==1.0]\n")
    (folder / "model" / "model.py").write_text(
        "class Model:\n    def load(self):\n        raise ValueError('no such weights')\n"
        "    def predict(self, request):\n        return 1\n"
    )

    async def scenario():
        health = Health()
        health.app = Replica(folder)
        async with Serve(health.app):
            with pytest.raises(RuntimeError, match="no such weights") as caught:
                await health.check_health()
            assert "no-such-package" in str(caught.value)
            assert "--packages uv" in str(caught.value)

    asyncio.run(scenario())


def test_a_node_without_what_serving_needs_says_so(monkeypatch):
    monkeypatch.setattr(ray_replica, "_NEEDED", ("json", "no_such_module.at_all"))
    with pytest.raises(RuntimeError, match=r"needs no_such_module.at_all, which this node has not"):
        application({})
