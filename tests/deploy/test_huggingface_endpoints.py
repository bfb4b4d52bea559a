"""The program for Inference Endpoints, run with the hub's own library against a server on this machine.

The server is ours and knows one endpoint. It shows which calls the library makes of the program, and that the
program makes what is missing and updates what is there; not that the platform takes every value in them.
"""

import importlib
import json
import runpy
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from truss.config import parse_config
from truss.deploy import Release, read_options, target_named
from truss.errors import PlanError

IMAGE = "registry.example.com/team/iris@sha256:1"
SECRETS = "secrets: {api-key: null}"


def planned(config=SECRETS, name="iris", **options):
    target = target_named("huggingface-endpoints")
    return target.plan(Release(name, IMAGE, parse_config(config)), read_options(target, options))


@pytest.fixture
def platform(monkeypatch):
    """The platform's server; `calls` is what changed something, `endpoint` what it has."""

    class Platform(BaseHTTPRequestHandler):
        calls: list = []  # noqa: RUF012  # of one test
        endpoint = None
        refuses = 0
        state = "running"

        def do_GET(self):
            if Platform.refuses:
                self.answer(Platform.refuses, {"error": "the token has expired"})
            elif self.path == "/readyz":
                self.answer(200, {})
            elif self.path == "/api/whoami-v2":
                self.answer(200, {"name": "ada", "type": "user"})
            elif Platform.endpoint is None:
                self.answer(404, {"error": "no such endpoint"})
            else:
                self.answer(200, Platform.endpoint)

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            Platform.calls.append((self.command, self.path, body))
            status = {"state": Platform.state, "url": url, "createdAt": DAY, "updatedAt": DAY}
            model = {"task": None, "revision": None, **body["model"]}
            Platform.endpoint = {
                **(Platform.endpoint or {}),
                **body,
                "name": "iris",
                "model": model,
                "status": status,
                "healthRoute": "/readyz",
            }
            self.answer(200, Platform.endpoint)

        do_PUT = do_POST  # noqa: N815  # the handler's naming

        def answer(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    constants = importlib.import_module("huggingface_hub.constants")
    with ThreadingHTTPServer(("127.0.0.1", 0), Platform) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", url + "/v2")
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setenv("HF_TOKEN", "hf_token-of-a-test")
        monkeypatch.setenv("TRUSS_SECRET_api_key", "a-value")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Platform
        server.shutdown()


DAY = "2026-01-01T00:00:00.000Z"


def run(plan, folder, capsys):
    (folder / "endpoint.py").write_text(plan.files[0].text)
    runpy.run_path(str(folder / "endpoint.py"), run_name="__main__")
    return capsys.readouterr().out


def test_the_program_makes_the_endpoint_then_updates_it(platform, tmp_path, capsys):
    assert "http://127.0.0.1" in run(planned(), tmp_path, capsys)
    assert "http://127.0.0.1" in run(planned(max_replicas="5"), tmp_path, capsys)
    (made, to, body), (updated, _, change) = platform.calls
    assert (made, to, updated) == ("POST", "/v2/endpoint/ada", "PUT")
    assert body["name"] == "iris"
    assert body["provider"] == {"vendor": "aws", "region": "us-east-1"}
    assert body["model"]["image"] == {"custom": {"url": IMAGE, "port": 8080, "healthRoute": "/readyz"}}
    assert body["model"]["secrets"] == {"TRUSS_SECRET_api_key": "a-value"}
    assert change["compute"]["scaling"]["maxReplica"] == 5


def stopped(plan, folder):
    """What the program says as it ends."""
    (folder / "endpoint.py").write_text(plan.files[0].text)
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(folder / "endpoint.py"), run_name="__main__")
    return str(caught.value.code)


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_refused_is_told_with_what_to_do(status, platform, tmp_path):
    platform.refuses = status
    said = stopped(planned(), tmp_path)
    assert said.startswith("Hugging Face refuses:")
    assert "HF_TOKEN" in said
    assert platform.calls == []


def test_a_limit_is_told_in_the_platforms_words(platform, tmp_path):
    platform.refuses = 429
    said = stopped(planned(), tmp_path)
    assert said.startswith("Hugging Face refuses:")
    assert "rate limit" in said
    assert "HF_TOKEN" not in said


def test_no_token_at_all_is_told(platform, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_TOKEN_PATH", "/none")
    assert "HF_TOKEN" in stopped(planned(), tmp_path)


def test_an_endpoint_that_fails_is_named(platform, tmp_path):
    platform.state = "failed"
    assert "see the logs on the page of iris" in stopped(planned(), tmp_path)


def test_a_secret_without_a_value_is_named_before_anything_is_made(platform, tmp_path, monkeypatch):
    monkeypatch.delenv("TRUSS_SECRET_api_key")
    assert "TRUSS_SECRET_api_key" in stopped(planned(), tmp_path)
    assert platform.calls == []


@pytest.mark.parametrize(
    ("accelerator", "machine"),
    [("L4", "nvidia-l4 x1"), ("A100:2", "nvidia-a100 x2"), ("T4:3", "nvidia-t4 x4")],
)
def test_the_cheapest_machine_with_the_gpus_is_chosen(accelerator, machine):
    plan = planned(f"resources: {{accelerator: '{accelerator}', use_gpu: true}}")
    assert any(note.startswith(f"{machine}:") for note in plan.notes)


@pytest.mark.parametrize(
    ("what", "wrong"),
    [({"name": "a" * 33}, "too long"), ({"access": "secret"}, "no kind of access")],
)
def test_what_the_platform_would_refuse_is_refused_in_the_plan(what, wrong):
    with pytest.raises(PlanError, match=wrong):
        planned(**what)


def test_machines_it_does_not_have_are_refused_with_those_it_has():
    with pytest.raises(PlanError) as caught:
        planned("resources: {memory: 64Gi}")
    assert "32 GiB" in caught.value.hint
