"""What a model may have besides `predict`: a word on its health, a parameter for the request itself."""

import pytest

from truss.config import read_config
from truss.model import load_model
from truss.testing.server import running_server

HEALTH = """
    from pathlib import Path


    class Model:
        def __init__(self, **kwargs):
            self.folder = Path(kwargs["data_dir"])

        def load(self):
            self.folder.mkdir(exist_ok=True)

        {}def predict(self, request):
            return request

        {}def is_healthy(self):
            state = (self.folder / "state").read_text()
            if state == "raise":
                raise OSError("no connection")
            return state == "well"
"""

READY_ROUTES = ("/v1/models/model", "/v1/models/model/loaded", "/readyz", "/ping", "/v2/health/ready")


@pytest.mark.parametrize(("step", "check"), [("", ""), ("async ", "async "), ("async ", ""), ("", "async ")])
def test_a_model_says_whether_it_is_healthy(make_truss, step, check):
    folder = make_truss(HEALTH.format(step, check))
    state = folder / "data" / "state"
    state.parent.mkdir()
    state.write_text("well")
    with running_server(folder) as server:
        assert [server.request("GET", path).status for path in READY_ROUTES] == [200] * 5
        state.write_text("ill")
        assert [server.request("GET", path).status for path in READY_ROUTES] == [503] * 5
        assert server.request("GET", "/livez").status == 200
        assert server.predict({"inputs": [1]}).status == 200
        state.write_text("raise")
        answer = server.request("GET", "/readyz")
        assert answer.status == 503
        assert "`is_healthy` raised OSError: no connection" in answer.json()["error"]["message"]
        state.write_text("well")
        assert server.request("GET", "/readyz").status == 200


def test_health_is_told_at_once_while_a_sync_model_computes(make_truss, tmp_path):
    code = """
        import time
        from pathlib import Path

        class Model:
            def predict(self, request):
                folder = Path(request["folder"])
                (folder / "begun").touch()
                while not (folder / "go").exists():
                    time.sleep(0.005)
                return "done"

            def is_healthy(self):
                return True
    """
    import threading

    with running_server(make_truss(code)) as server:
        asking = threading.Thread(target=server.predict, args=({"folder": str(tmp_path)},))
        asking.start()
        server.wait_until((tmp_path / "begun").exists, "does not begin")
        assert server.request("GET", "/readyz").status == 200
        (tmp_path / "go").touch()
        asking.join()


ASKING = """
    from truss.model.request import Request


    class Model:
        {}def preprocess(self, inputs, request):
            return {{**inputs, "user": request.headers.get("X-User")}}

        {}def predict(self, found, the_request: Request):
            return {{**found, "path": the_request.path, "query": the_request.query, "id": the_request.id,
                    "method": the_request.method, "size": len(the_request.content)}}
"""


@pytest.mark.parametrize("step", ["", "async "])
def test_a_step_may_ask_for_the_request(make_truss, step):
    folder = make_truss(ASKING.format(step, step), "runtime: {batching: {mode: rows}}")
    with running_server(folder) as server:
        headers = {"X-User": "ada", "X-Request-Id": "7"}
        answer = server.request("POST", "/v1/models/model:predict?a=b", b'{"k": 1}', headers)
        found = {"k": 1, "user": "ada", "path": "/v1/models/model:predict", "query": "a=b"}
        assert answer.json() == {**found, "id": "7", "method": "POST", "size": 8}
        answer = server.request("POST", "/predict", b'{"k": 1}', {"X-User": "bob", "X-Request-Id": "8"})
        assert answer.json() == {**found, "user": "bob", "path": "/predict", "query": "", "id": "8"} | {
            "method": "POST",
            "size": 8,
        }


@pytest.mark.parametrize(
    ("parameters", "value", "expected"),
    [
        ("self", "'no inputs'", "no inputs"),
        ("self, request", "request['k']", 1),
        ("self, request: dict", "request['k']", 1),
        ("self, request: Request", "request.method", "POST"),
        ("self, request: Request, inputs", "[request.method, inputs['k']]", ["POST", 1]),
        ("self, inputs, request", "[request.method, inputs['k']]", ["POST", 1]),
        ("self, inputs, scale=2", "inputs['k'] * scale", 2),
        ("self, *inputs", "inputs[0]['k']", 1),
    ],
)
def test_parameters_say_what_a_step_is_given(make_truss, parameters, value, expected):
    method = f"    def predict({parameters}):\n        return {value}\n"
    folder = make_truss(f"from truss.model.request import Request\n\n\nclass Model:\n{method}")
    loaded = load_model(folder, read_config(folder))
    assert loaded.predict({"k": 1}) == expected
