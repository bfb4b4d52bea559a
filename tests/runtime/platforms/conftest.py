"""The program of a container under every platform's environment, arguments, user and signals, all at once."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import truss

MODEL = """
import os, time
from pathlib import Path


class Model:
    def __init__(self, **kwargs):
        pass

    def load(self):
        gate = os.environ.get("TEST_GATE")
        while gate and not Path(gate).exists():
            time.sleep(0.01)

    def predict(self, request):
        if "sleep_until" in request:
            Path(request["sleep_until"] + ".begun").touch()
            while not Path(request["sleep_until"]).exists():
                time.sleep(0.01)
        if "instances" in request:
            doubled = [row * 2 for row in request["instances"]]
            return {"predictions": doubled, "parameters": request.get("parameters"), "uid": os.getuid()}
        return {"echo": request, "uid": os.getuid()}

    def chat_completions(self, request):
        return {"choices": [{"message": {"role": "assistant", "content": "hello"}}]}
"""

NOBODY_S_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": str(Path(truss.__file__).parents[1]),  # the sources under test, wherever they are
}
"""No HOME, no user, no language: what a container finds."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict

    def json(self):
        return json.loads(self.body)


@dataclass
class Container:
    """A running program of a container."""

    port: int
    process: subprocess.Popen
    gate: Path
    log: list = field(default_factory=list)

    def ask(self, method, path, content=None, **headers):
        """One request; the body is JSON unless it is bytes already."""
        body = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, answer.read(), named)

    def connects(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_until(self, condition, what):
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            time.sleep(0.02)
        raise AssertionError(f"{what}:\n{''.join(self.log)}")

    def open_gate(self):
        """Let the model load."""
        self.gate.touch()


def as_user(uid):
    """What runs a command as another user, who may read the tests' own interpreter wherever it is."""
    if os.getuid() != 0 or uid == 0 or shutil.which("setpriv") is None:
        return []
    capability = "+dac_read_search"
    return [
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
        *(f"--inh-caps={capability}", f"--ambient-caps={capability}"),
    ]


@pytest.fixture(scope="session")
def image():
    """A Truss as it lies in an image: root's, readable by all, writable by nobody else."""
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    (folder / "app" / "model").mkdir(parents=True)
    (folder / "app" / "config.yaml").write_text("model_name: doubler\nsecrets: {}\n")
    (folder / "app" / "model" / "__init__.py").touch()
    (folder / "app" / "model" / "model.py").write_text(MODEL)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    (folder / "gates").mkdir()
    (folder / "gates").chmod(0o777)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def start(image):
    """Start the program with arguments, environment and uid; `{port}` in a variable is a free port."""
    running = []

    def start(*arguments, uid=0, **variables):
        port = free_port()
        gate = image / "gates" / str(port)
        environment = {name: value.format(port=port) for name, value in variables.items()}
        process = subprocess.Popen(
            [
                *as_user(uid),
                *(sys.executable, "-m", "truss.runtime.container"),
                *(argument.format(port=port) for argument in arguments),
            ],
            cwd="/",
            env={
                **NOBODY_S_ENVIRONMENT,
                "TRUSS_DIR": str(image / "app"),
                "TEST_GATE": str(gate),
                **environment,
            },
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        container = Container(port, process, gate)
        threading.Thread(target=lambda: container.log.extend(process.stderr), daemon=True).start()
        running.append(container)
        return container

    yield start
    for container in running:
        if container.process.poll() is None:
            container.process.send_signal(signal.SIGKILL)
        container.process.wait()


@dataclass(frozen=True)
class Given:
    """What a platform gives: arguments, user, variables."""

    arguments: tuple = ()
    uid: int = 0
    variables: dict = field(default_factory=dict)


PLATFORMS = {
    "sagemaker": Given(("serve",), 0, {"SAGEMAKER_BIND_TO_PORT": "{port}", "SAGEMAKER_REGION": "eu-west-1"}),
    "vertex": Given(
        (),
        1000,
        {
            "AIP_HTTP_PORT": "{port}",
            "AIP_HEALTH_ROUTE": "/v1/endpoints/7/deployedModels/8",
            "AIP_PREDICT_ROUTE": "/v1/endpoints/7/deployedModels/8:predict",
            "AIP_MODE": "PREDICTION",
            "AIP_STORAGE_URI": "",
        },
    ),
    "azureml": Given(
        ("--port", "{port}"), 1001, {"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/m/1"}
    ),
    "containerapps": Given((), 1000, {"CONTAINER_APP_PORT": "{port}", "CONTAINER_APP_NAME": "a"}),
    "cloudrun": Given(
        (), 1000, {"PORT": "{port}", "K_SERVICE": "s", "K_REVISION": "r", "K_CONFIGURATION": "c"}
    ),
    "kserve": Given(("--model_name=iris", "--http_port={port}"), 1000, {"STORAGE_URI": "s3://bucket/iris"}),
    "kubernetes": Given((), 65534, {"PORT": "{port}", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}),
    "huggingface": Given((), 1000, {"PORT": "{port}", "HF_TASK": "custom"}),
    "lambda_adapter": Given((), 993, {"AWS_LWA_PORT": "{port}", "AWS_LAMBDA_FUNCTION_NAME": "f"}),
    "fly": Given((), 0, {"PORT": "{port}", "FLY_APP_NAME": "a"}),
}


@pytest.fixture(scope="session")
def platforms(start):
    """Every platform's container, started together, none of their models loaded yet."""
    return {
        name: start(*given.arguments, uid=given.uid, **given.variables) for name, given in PLATFORMS.items()
    }


@pytest.fixture(scope="session")
def user_of():
    """The user that a platform's container runs as here: its own where this process may choose."""
    return lambda platform: PLATFORMS[platform].uid if as_user(PLATFORMS[platform].uid) else os.getuid()
