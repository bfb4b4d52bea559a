"""SageMaker's multi-model endpoint, played as SageMaker does: unpacked archives, and its routes.

That SageMaker's own agent fetches, unloads and retries as documented is not shown.
https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html
"""

import signal
import threading
from pathlib import Path

import pytest

from truss.runtime.room import free_memory, size_of

MODEL = """
import os, time
from pathlib import Path


class Model:
    def __init__(self, data_dir):
        self.times = int((data_dir / "times").read_text())

    def load(self):
        if self.times == 13:
            raise ValueError("an unlucky number")
        if self.times == 14:
            raise MemoryError
        if self.times == 15:
            os.kill(os.getpid(), 9)  # as the kernel does when memory is short

    def predict(self, request):
        if "until" in request:
            Path(request["until"] + ".begun").touch()
            while not Path(request["until"]).exists():
                time.sleep(0.01)
        return {"predictions": [row * self.times for row in request["instances"]], "size": len(str(request))}
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Unpack the archive of a model that multiplies; returns what SageMaker says of it."""
    root = tmp_path_factory.mktemp("models")

    def unpack(name, times, config=""):
        folder = root / name / "model"
        for path, text in {"config.yaml": config, "model/model.py": MODEL, "data/times": str(times)}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return {"model_name": name, "url": str(folder)}

    return unpack


@pytest.fixture
def endpoint(start):
    """A container that holds no model yet."""
    container = start(
        "serve", SAGEMAKER_MULTI_MODEL="true", SAGEMAKER_BIND_TO_PORT="{port}", TRUSS_DIR="/app"
    )
    container.wait_until(lambda: container.ask("GET", "/ping").status == 200, "it does not answer")
    yield container
    container.process.send_signal(signal.SIGINT)
    assert container.process.wait(30) == 0, "".join(container.log)


def names(endpoint):
    return [model["modelName"] for model in endpoint.ask("GET", "/models").json()["models"]]


def test_models_are_loaded_asked_and_unloaded(endpoint, unpacked):
    assert names(endpoint) == []
    twice, thrice = unpacked("twice", 2), unpacked("thrice", 3, "runtime: {workers: 2}\n")
    for model in (twice, thrice):
        assert endpoint.ask("POST", "/models", model, Content_Type="application/json").status == 200
    assert endpoint.ask("POST", "/models", twice).status == 409
    assert names(endpoint) == ["twice", "thrice"]
    assert endpoint.ask("GET", "/models/twice").json() == {"modelName": "twice", "modelUrl": twice["url"]}
    for name, tenfold in (("twice", 20), ("thrice", 30)):
        answer = endpoint.ask(
            "POST",
            f"/models/{name}/invoke",
            {"instances": [10]},
            Content_Type="application/json",
            X_Amzn_SageMaker_Target_Model=f"{name}.tar.gz",
        )
        assert (answer.status, answer.json()["predictions"]) == (200, [tenfold])
    large = {"instances": [], "filling": "x" * (3 << 20)}
    assert endpoint.ask("POST", "/models/twice/invoke", large).json()["size"] > 3 << 20
    assert endpoint.ask("DELETE", "/models/twice").status == 200
    assert names(endpoint) == ["thrice"]
    for method, path in (
        ("POST", "/models/twice/invoke"),
        ("GET", "/models/twice"),
        ("DELETE", "/models/twice"),
    ):
        assert endpoint.ask(method, path, {"instances": []}).status == 404
    assert endpoint.ask("POST", "/models", twice).status == 200  # asked for again
    assert endpoint.ask("POST", "/models/twice/invoke", {"instances": [1]}).json()["predictions"] == [2]


def test_that_none_is_served_by_grpc_is_said(endpoint, unpacked):
    asked = unpacked("grpc", 2, "runtime: {grpc: {port: 8081}}\n")
    assert endpoint.ask("POST", "/models", asked).status == 200
    endpoint.wait_until(lambda: any("runtime.grpc" in line for line in endpoint.log), "it does not say so")


def test_what_cannot_be_loaded_says_why_and_leaves_the_others(endpoint, unpacked, tmp_path):
    assert endpoint.ask("POST", "/models", unpacked("good", 2)).status == 200
    unlucky = endpoint.ask("POST", "/models", unpacked("unlucky", 13))
    assert (unlucky.status, unlucky.json()["error"]["type"]) == (500, "model_load")
    assert "an unlucky number" in unlucky.json()["error"]["message"]
    assert endpoint.ask("POST", "/models", {"model_name": "none", "url": str(tmp_path)}).status == 400
    assert endpoint.ask("POST", "/models", b"no JSON").status == 400
    assert endpoint.ask("POST", "/models", {"model_name": "none"}).status == 400
    wrong = endpoint.ask("PUT", "/models", {})
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, POST")
    assert endpoint.ask("GET", "/nowhere").status == 404
    assert names(endpoint) == ["good"]
    assert endpoint.ask("POST", "/models/good/invoke", {"instances": [1]}).json()["predictions"] == [2]


@pytest.mark.parametrize(("name", "times"), [("raises", 14), ("killed", 15)])
def test_too_little_memory_has_another_model_unloaded(endpoint, unpacked, name, times):
    answer = endpoint.ask("POST", "/models", unpacked(name, times))
    assert (answer.status, answer.json()["error"]["type"]) == (507, "no_room"), answer.body
    assert names(endpoint) == []


def test_what_has_more_files_than_there_is_memory_is_not_tried(endpoint, unpacked):
    asked = unpacked("huge", 2)
    with (Path(asked["url"]) / "data" / "weights").open("wb") as file:
        file.truncate(1 << 42)  # of which the disk holds nothing
    answer = endpoint.ask("POST", "/models", asked)
    assert (answer.status, answer.json()["error"]["type"]) == (507, "no_room")


@pytest.mark.parametrize("ended", ["unloaded", "stopped"])
def test_a_request_that_has_begun_is_answered(endpoint, unpacked, tmp_path, ended):
    assert endpoint.ask("POST", "/models", unpacked(ended, 2)).status == 200
    until, answers = tmp_path / "until", []
    request = {"instances": [4], "until": str(until)}
    asking = threading.Thread(
        target=lambda: answers.append(endpoint.ask("POST", f"/models/{ended}/invoke", request))
    )
    asking.start()
    endpoint.wait_until((tmp_path / "until.begun").exists, "the request has not begun")
    if ended == "stopped":
        endpoint.process.send_signal(signal.SIGTERM)
        endpoint.wait_until(lambda: endpoint.ask("GET", "/ping").status == 503, "it is not stopping")
        until.touch()
    else:
        ending = threading.Thread(target=lambda: answers.append(endpoint.ask("DELETE", f"/models/{ended}")))
        ending.start()
        endpoint.wait_until(lambda: not names(endpoint), "it is not unloaded")
        until.touch()
        ending.join(30)
    asking.join(30)
    assert {answer.status for answer in answers} == {200}
    assert [8] in [answer.json().get("predictions") for answer in answers]


def test_free_memory_is_the_container_s(tmp_path):
    machine, group = tmp_path / "meminfo", tmp_path / "group"
    assert free_memory(machine, group) is None
    machine.write_text("MemTotal: 9 kB\nMemAvailable: 8 kB\n")
    assert free_memory(machine, group) == 8192
    group.mkdir()
    for name, text in {
        "memory.max": "max",
        "memory.current": "3000",
        "memory.stat": "anon 1\ninactive_file 500\n",
    }.items():
        (group / name).write_text(text)
    assert free_memory(machine, group) == 8192
    (group / "memory.max").write_text("4000")
    assert free_memory(machine, group) == 1500
    assert size_of(group) == 4 + 4 + 25
