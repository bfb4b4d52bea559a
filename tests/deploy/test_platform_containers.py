"""One image under each platform's environment: its port, arguments, user, limits, probes and signals.

The image is made by `truss build`, pushed to a registry and pulled by a real engine. Each container gets
what the platform documents to give (docs/guides/protocols.md has the sources), is asked as the platform
asks, and is told to stop as the platform tells, while it still answers a request. What came of it is
docs/reference/platforms.md; after a change on purpose:
TRUSS_RENEW=1 python -m pytest tests/deploy/test_platform_containers.py.

Not shown: the platforms' networks and proxies, their own sandboxes (gVisor, Firecracker), and GPUs.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lambda_runtime_api import RuntimeApi

from truss.testing.engine import RunningEngine, free_port
from truss.testing.images import Bench

pytestmark = [
    pytest.mark.engine,
    pytest.mark.registry,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "platforms.md"

MODEL = """
import os, time
from pathlib import Path


class Model:
    def predict(self, request):
        if "until" in request:
            Path(request["until"] + ".begun").touch()
            while not Path(request["until"]).exists():
                time.sleep(0.01)
        return {"predictions": [2 * number for number in request["instances"]], "uid": os.getuid()}
"""

ROWS = {"instances": [1, 2]}
HASTE = 6  # seconds
COLUMNS = (
    *("platform", "arguments", "port", "user", "restrictions", "memory", "health", "predict"),
    *("answer", "stop", "last answer", "exit"),
)
READ_ONLY = ("--read-only", "--tmpfs", "/tmp")  # of the container
RESTRICTED = (*READ_ONLY, "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@dataclass(frozen=True)
class Place:
    """A platform, as a container finds it.

    Attributes:
        name: What people call it.
        health: The path that it asks whether the container may have requests.
        predict: The path of predictions.
        port: Where it connects to.
        arguments: What it runs the image with.
        variables: The environment that it gives.
        user: Whom it runs the image as; empty: the image's own user.
        limits: What else it restricts, as options of `docker run`.
        memory: The least that it gives.
        signal: What it stops a container with.
        grace: Seconds from that to the kill.
    """

    name: str
    health: str
    predict: str
    port: int = 8080
    arguments: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    user: str = ""
    limits: tuple[str, ...] = ()
    memory: str = "512m"
    signal: str = "SIGTERM"
    grace: int = 30


ENDPOINT = "/v1/endpoints/7/deployedModels/8"
KNATIVE = {"PORT": "8080", "K_SERVICE": "s", "K_REVISION": "s-00001", "K_CONFIGURATION": "s"}

PLACES = (
    Place(
        "Amazon SageMaker",
        "/ping",
        "/invocations",
        arguments=("serve",),
        variables={"SAGEMAKER_REGION": "eu-west-1"},
        user="0:0",
        memory="1g",
    ),
    Place("Amazon ECS, Fargate", "/readyz", "/v1/models/model:predict", limits=READ_ONLY),
    Place(
        "AWS Lambda",
        "(Runtime API)",
        "(Runtime API)",
        variables={"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"},
        user="993:990",
        limits=(*READ_ONLY, "--ipc", "none"),
        grace=2,
    ),
    Place(
        "Vertex AI",
        ENDPOINT,
        f"{ENDPOINT}:predict",
        variables={
            "AIP_HTTP_PORT": "8080",
            "AIP_HEALTH_ROUTE": ENDPOINT,
            "AIP_PREDICT_ROUTE": f"{ENDPOINT}:predict",
            "AIP_MODE": "PREDICTION",
            "AIP_STORAGE_URI": "",
        },
    ),
    Place("Cloud Run", "/readyz", "/predict", variables=KNATIVE, grace=10),
    Place(
        "Azure Container Apps",
        "/readyz",
        "/predict",
        variables={"CONTAINER_APP_NAME": "a", "CONTAINER_APP_PORT": "8080"},
    ),
    Place(
        "Azure Machine Learning",
        "/",
        "/score",
        variables={"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/m/1"},
        user="1001:1001",
    ),
    Place(
        "Kubernetes, restricted",
        "/readyz",
        "/v1/models/model:predict",
        variables={"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        user="65534:65534",
        limits=RESTRICTED,
    ),
    Place(
        "OpenShift",
        "/readyz",
        "/v1/models/model:predict",
        variables={"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        user="1000660000:0",
        limits=RESTRICTED,
    ),
    Place("Knative", "/readyz", "/predict", variables=KNATIVE, user="1000:1000", limits=RESTRICTED),
    Place(
        "KServe",
        "/v1/models/doubler",
        "/v1/models/doubler:predict",
        arguments=("--model_name=doubler", "--http_port=8081"),
        port=8081,
        user="1000:1000",
        limits=RESTRICTED,
    ),
    Place(
        "Hugging Face Endpoints",
        "/health",
        "/",
        port=80,
        variables={"PORT": "80", "HF_TASK": "custom"},
    ),
    Place("Hugging Face Spaces", "/", "/predict", 7860, variables={"PORT": "7860"}, user="1000:1000"),
    Place(
        "Fly.io",
        "/readyz",
        "/predict",
        variables={"FLY_APP_NAME": "a", "PORT": "8080"},
        signal="SIGINT",
        grace=5,
    ),
    Place("Docker Compose", "/readyz", "/v1/models/model:predict", limits=RESTRICTED, grace=10),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a container.

    Attributes:
        answer: The reply to two rows.
        last: The reply to the request that was under way when it was told to stop.
        status: What it ended with.
        killed: Whether it was, for want of memory.
        log: What it wrote.
    """

    answer: dict[str, Any]
    last: dict[str, Any]
    status: int
    killed: bool
    log: str


Ask = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Host:
    """The engine and the image.

    Attributes:
        engine: The engine.
        image: The image's name there.
    """

    engine: RunningEngine
    image: str

    def outcome(self, place: Place) -> Outcome:
        """Run a container as a platform does, from its start to its end."""
        with self.running(place) as (container, ask):
            answer = ask(ROWS)
            until, replies = "/tmp/until", []  # of the container
            asking = threading.Thread(target=lambda: replies.append(ask({**ROWS, "until": until})))
            asking.start()
            self._wait(lambda: self._file_is_there(container, f"{until}.begun"), container)
            self.engine.docker("kill", "--signal", place.signal, container)
            self.engine.docker("exec", container, "python3", "-c", f"open({until!r}, 'w').close()")
            told = time.monotonic()
            status = self.engine.docker("wait", container)
            asking.join(60)
            took = time.monotonic() - told
            assert took < place.grace, f"{place.name} would have killed it: {took:.2f} s"
            killed = self.engine.docker("inspect", container, "--format", "{{.State.OOMKilled}}") == "true"
            return Outcome(answer, replies[0], int(status), killed, self._log(container))

    @contextlib.contextmanager
    def running(self, place: Place) -> Iterator[tuple[str, Ask]]:
        """A container that a platform has started, and how to ask its model."""
        words = ["run", "--detach", "--memory", place.memory, *place.limits]
        words += ["--user", place.user] if place.user else []
        for name, value in place.variables.items():
            words += ["--env", f"{name}={value}"]
        connect = _by_events if place.name == "AWS Lambda" else _by_http
        with connect(place) as (more, ready, ask):
            container = self.engine.docker(*words, *more, self.image, *place.arguments)
            try:
                self._wait(ready, container)
                yield container, ask
            finally:
                self.engine.docker("rm", "--force", container)

    def _wait(self, condition: Callable[[], bool], container: str) -> None:
        end = time.monotonic() + 60
        while not condition():
            state = self.engine.docker("inspect", container, "--format", "{{.State.Status}}")
            assert state == "running", self._log(container)
            assert time.monotonic() < end, self._log(container)
            time.sleep(0.05)

    def _file_is_there(self, container: str, path: str) -> bool:
        program = f"import os; print(os.path.exists({path!r}))"
        return self.engine.docker("exec", container, "python3", "-c", program) == "True"

    def _log(self, container: str) -> str:
        return self.engine.docker("logs", container, both=True)


Connection = tuple[list[str], Callable[[], bool], Ask]


@contextlib.contextmanager
def _by_http(place: Place) -> Iterator[Connection]:
    port = free_port()

    def request(method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            return reply.status, reply.read()

    def ready() -> bool:
        # Azure's probe of readiness is liveness' path, which answers before the model is there.
        with contextlib.suppress(OSError, http.client.HTTPException):
            return all(request("GET", path)[0] == 200 for path in (place.health, "/readyz"))
        return False

    def ask(body: dict[str, Any]) -> dict[str, Any]:
        status, content = request("POST", place.predict, body)
        assert status == 200, content
        return json.loads(content)

    yield ["--publish", f"127.0.0.1:{port}:{place.port}"], ready, ask


@contextlib.contextmanager
def _by_events(_: Place) -> Iterator[Connection]:
    api = RuntimeApi()
    thread = threading.Thread(target=api.serve_forever, daemon=True)
    thread.start()

    def ask(event: dict[str, Any]) -> dict[str, Any]:
        kind, said = api.answer(event)
        assert kind == "response", said
        return said

    # Lambda's API is on the container's own loopback.
    more = ["--network", "host", "--env", f"AWS_LAMBDA_RUNTIME_API=127.0.0.1:{api.server_port}"]
    try:
        yield [*more, "--env", f"PORT={free_port()}"], api.asked.is_set, ask
    finally:
        api.shutdown()
        api.server_close()


@pytest.fixture(scope="module")
def host(bench: Bench, engine: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """The engine, with the image."""
    folder = tmp_path_factory.mktemp("platforms") / "doubler"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text("model_name: doubler\npython_version: py311\n")
    (folder / "model" / "model.py").write_text(MODEL)
    name = bench.build(folder, "doubler:1")["reference"]
    engine.docker("pull", "--quiet", name)
    return Host(engine, name)


@pytest.fixture(scope="module")
def outcomes(host: Host) -> dict[str, Outcome]:
    """What came of the image on every platform."""
    # Those that leave seconds only are not to share the cores with others.
    hasty = {place.name: host.outcome(place) for place in PLACES if place.grace < HASTE}
    calm = [place for place in PLACES if place.grace >= HASTE]
    with ThreadPoolExecutor(3) as pool:
        ended = zip(calm, pool.map(host.outcome, calm), strict=True)
        return hasty | {place.name: outcome for place, outcome in ended}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_the_image_answers_and_ends_as_the_platform_asks(place: Place, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[place.name]
    assert outcome.answer["predictions"] == [2, 4]
    assert outcome.last["predictions"] == [2, 4]
    assert outcome.status == 0, outcome.log
    assert not outcome.killed
    assert "Traceback" not in outcome.log
    if place.user:
        assert outcome.answer["uid"] == int(place.user.partition(":")[0])
    else:
        assert outcome.answer["uid"] != 0


@pytest.mark.parametrize("place", ["/opt/ml/model", "/mnt/models", "/repository"])
def test_a_truss_in_the_folder_of_a_platform_goes_before_the_image_s_own(
    host: Host, tmp_path: Path, place: str
) -> None:
    """As SageMaker, KServe and Hugging Face Endpoints bring a model's files: to read, not to write."""
    brought = tmp_path / "my_model"  # as an archive of the folder is unpacked
    (brought / "model").mkdir(parents=True)
    (brought / "config.yaml").touch()
    (brought / "model" / "model.py").write_text(
        "class Model:\n    def predict(self, request):\n        return {'brought': request['instances']}\n"
    )
    tmp_path.chmod(0o755)  # the container's user is another
    mounted = Place("", "/ping", "/invocations", limits=(*READ_ONLY, "--volume", f"{tmp_path}:{place}:ro"))
    with host.running(mounted) as (_, ask):
        assert ask(ROWS) == {"brought": [1, 2]}


def test_the_page_says_what_came_of_it(outcomes: dict[str, Outcome]) -> None:
    page = _page(outcomes)
    if os.environ.get("TRUSS_RENEW"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page


def _page(outcomes: dict[str, Outcome]) -> str:
    rows = [_row(place, outcomes[place.name]) for place in PLACES]
    return "\n".join(
        [
            "# Platforms",
            "",
            "One image, made by `truss build` and run by a container engine as each platform runs it.",
            "This page is written by the test that does so (`tests/deploy/test_platform_containers.py`):",
            "it asks the platform's path of health until the answer is 200, then for the doubles of 1 and 2,",
            "and stops the container while a request is under way. `last answer` is what that request got,",
            "`exit` what the container ended with, in less than the seconds that the platform gives.",
            "",
            "| " + " | ".join(COLUMNS) + " |",
            "|---" * len(COLUMNS) + "|",
            *rows,
            "",
            "Not shown here: the platforms' own networks, proxies and sandboxes. What each documents, with",
            "sources: [protocols](../guides/protocols.md).",
            "",
        ]
    )


def _row(place: Place, outcome: Outcome) -> str:
    restrictions = {
        (): "none",
        READ_ONLY: "read-only root",
        RESTRICTED: "read-only root, no capabilities",
    }.get(place.limits, "read-only root, no shared memory")
    cells = [
        place.name,
        " ".join(f"`{word}`" for word in place.arguments) or "none",
        "none" if place.health.startswith("(") else str(place.port),
        str(outcome.answer["uid"]),
        restrictions,
        place.memory.replace("m", " MiB").replace("g", " GiB"),
        place.health if place.health.startswith("(") else f"`GET {place.health}`",
        place.predict if place.predict.startswith("(") else f"`POST {place.predict}`",
        json.dumps(outcome.answer["predictions"]),
        f"{place.signal}, {place.grace} s",
        json.dumps(outcome.last["predictions"]),
        str(outcome.status),
    ]
    return f"| {' | '.join(cells)} |"
