"""Each platform's contract, spoken as that platform speaks: its probes, its requests, its signals.

The containers of all platforms are started at once. What is asked before the model is loaded comes first,
then the models are let load, then what is asked afterwards; last, everybody is told to stop as their platform
does.
"""

import json
import signal
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

SECONDS = {"fly": 5, "cloudrun": 10}
"""From the signal to the kill; 30 elsewhere."""


@pytest.fixture(scope="module")
def listening(platforms):
    """Those that take connections while their model loads."""
    early = {name: container for name, container in platforms.items() if name != "cloudrun"}
    for name, container in early.items():
        container.wait_until(container.connects, f"{name} does not listen")
    return early


@pytest.mark.parametrize(
    ("platform", "path", "status"),
    [
        ("sagemaker", "/ping", 503),
        ("vertex", "/v1/endpoints/7/deployedModels/8", 503),
        ("azureml", "/", 200),  # its liveness
        ("azureml", "/readyz", 503),
        ("containerapps", "/livez", 200),
        ("containerapps", "/readyz", 503),
        ("kserve", "/v1/models/iris", 503),
        ("kserve", "/v2/health/live", 200),
        ("kserve", "/v2/health/ready", 503),
        ("kserve", "/v2/models/iris/ready", 503),
        ("kubernetes", "/livez", 200),
        ("kubernetes", "/readyz", 503),
        ("huggingface", "/health", 503),
        ("lambda_adapter", "/readyz", 503),
        ("fly", "/readyz", 503),
    ],
)
def test_while_the_model_loads(listening, platform, path, status):
    assert listening[platform].ask("GET", path).status == status


def test_a_port_that_listens_is_a_model_that_is_ready_on_cloud_run(platforms, listening):
    assert not platforms["cloudrun"].connects()


@pytest.fixture(scope="module")
def ready(listening, platforms):
    """All of them, their models loaded."""
    for container in platforms.values():
        container.open_gate()
    for name, container in platforms.items():
        container.wait_until(
            lambda c=container: c.ask("GET", "/readyz").status == 200, f"{name} is not ready"
        )
    return platforms


def test_sagemaker(ready):
    """https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html"""
    container = ready["sagemaker"]
    assert container.ask("GET", "/ping").status == 200
    answer = container.ask(
        "POST",
        "/invocations",
        {"instances": [1, 2]},
        Content_Type="application/json",
        Accept="application/json",
        X_Amzn_SageMaker_Custom_Attributes="a=b",
    )
    assert (answer.status, answer.json()["predictions"]) == (200, [2, 4])
    csv = container.ask("POST", "/invocations", b"1,2\n3,4\n", Content_Type="text/csv")
    assert csv.json()["predictions"] == [[1, 2, 1, 2], [3, 4, 3, 4]]
    octets = container.ask(
        "POST", "/invocations", b"\x81\xa9instances\x91\x07", Content_Type="application/octet-stream"
    )
    assert octets.status == 200


def test_vertex(ready):
    """https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements"""
    container = ready["vertex"]
    assert container.ask("GET", "/v1/endpoints/7/deployedModels/8").status == 200
    answer = container.ask(
        "POST", "/v1/endpoints/7/deployedModels/8:predict", {"instances": [1, 2, 3], "parameters": {}}
    )
    assert (answer.status, answer.json()["predictions"]) == (200, [2, 4, 6])


def test_azure_machine_learning(ready):
    """https://learn.microsoft.com/azure/machine-learning/how-to-deploy-custom-container"""
    container = ready["azureml"]
    assert container.ask("GET", "/").status == 200
    answer = container.ask("POST", "/score", {"data": [1]}, azureml_model_deployment="blue")
    assert (answer.status, answer.json()["echo"]) == (200, {"data": [1]})


def test_a_truss_in_the_platform_s_model_folder_is_served(start, tmp_path):
    """Azure's folder stands for all of them here, since it may be anywhere; tests/model has the others."""
    code = "class Model:\n    def predict(self, request):\n        return {'brought': True}\n"
    registered = tmp_path / "azureml-models" / "iris" / "1" / "iris"
    (registered / "model").mkdir(parents=True)
    (registered / "config.yaml").touch()
    (registered / "model" / "model.py").write_text(code)
    container = start(
        "--port", "{port}", TRUSS_DIR="/app", AZUREML_MODEL_DIR=str(registered.parent), TEST_GATE=""
    )
    container.wait_until(lambda: container.ask("GET", "/readyz").status == 200, "it is not ready")
    assert container.ask("POST", "/score", {}).json() == {"brought": True}
    assert str(registered) in "".join(container.log)


def test_azure_container_apps(ready):
    assert ready["containerapps"].ask("GET", "/readyz").status == 200
    assert ready["containerapps"].ask("POST", "/predict", {"instances": [4]}).json()["predictions"] == [8]


def test_cloud_run_and_knative(ready):
    """https://cloud.google.com/run/docs/container-contract"""
    container = ready["cloudrun"]
    assert container.connects()
    assert container.ask("POST", "/predict", {"instances": [1]}).status == 200


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        ((), {"PORT": "{port}", "TRUSS_GRPC_PORT": "{port}", "K_SERVICE": "s"}),
        (("--http_port={port}", "--grpc_port={port}"), {}),
    ],
    ids=["Cloud Run, Knative", "KServe"],
)
def test_the_one_port_that_is_routed_takes_grpc_too(start, arguments, variables):
    """Their `h2c` ports: https://knative.dev/docs/serving/services/http2, and probes of gRPC."""
    container = start(*arguments, uid=1000, TEST_GATE="", **variables)
    container.wait_until(lambda: container.ask("GET", "/readyz").status == 200, "it is not ready")
    with grpc.insecure_channel(f"127.0.0.1:{container.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1
    container.process.send_signal(signal.SIGINT)
    assert container.process.wait(10) == 0, "".join(container.log)


def test_vertex_s_raw_requests_are_answered_as_they_come(ready):
    """`rawPredict` and `streamRawPredict` go to the same route, with any body and type."""
    container = ready["vertex"]
    route = "/v1/endpoints/7/deployedModels/8:predict"
    csv = container.ask("POST", route, b"1,2\n", Content_Type="text/csv")
    assert (csv.status, csv.json()["predictions"]) == (200, [[1, 2, 1, 2]])
    events = container.ask("POST", route, {"instances": [1]}, Accept="text/event-stream")
    assert events.headers["content-type"] == "text/event-stream"
    assert events.body.startswith(b"data: {")


def test_kserve(ready):
    """Both versions: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol"""
    container = ready["kserve"]
    assert container.ask("GET", "/v1/models/iris").json()["ready"] is True
    assert "iris" in container.ask("GET", "/v1/models").json()["models"]
    answer = container.ask("POST", "/v1/models/iris:predict", {"instances": [[1], [2]]})
    assert answer.json()["predictions"] == [[1, 1], [2, 2]]
    assert container.ask("GET", "/v2/models/iris/ready").status == 200
    tensor = {"name": "x", "shape": [2], "datatype": "INT64", "data": [1, 2]}
    answer = container.ask("POST", "/v2/models/iris/infer", {"id": "7", "inputs": [tensor]}).json()
    assert (answer["id"], answer["model_name"]) == ("7", "iris")
    assert {"name": "predictions", "shape": [2], "datatype": "INT64", "data": [2, 4]} in answer["outputs"]


def test_kubernetes(ready):
    container = ready["kubernetes"]
    assert [container.ask("GET", path).status for path in ("/livez", "/readyz", "/healthz")] == [200] * 3


def test_hugging_face_endpoints(ready):
    """https://huggingface.co/docs/inference-endpoints/guides/custom_container"""
    container = ready["huggingface"]
    assert container.ask("GET", "/health").status == 200
    assert container.ask("GET", "/").status == 200
    answer = container.ask("POST", "/", {"inputs": ["a text"], "parameters": {"top_k": 1}})
    assert answer.json()["predictions"] == ["a texta text"]
    assert answer.json()["parameters"] == {"top_k": 1}
    chat = container.ask("POST", "/v1/chat/completions", {"model": "tgi", "messages": []})
    assert chat.json()["choices"][0]["message"]["content"] == "hello"


def test_lambda_web_adapter(ready):
    """https://github.com/awslabs/aws-lambda-web-adapter: it asks until it is ready, then passes events on."""
    container = ready["lambda_adapter"]
    assert 100 <= container.ask("GET", "/").status < 500
    assert container.ask("GET", "/readyz").status == 200
    answer = container.ask("POST", "/predict", {"instances": [1]}, x_amzn_request_context="{}")
    assert answer.json()["predictions"] == [2]
    assert container.ask("POST", "/events", {"Records": [1]}).json()["echo"] == {"Records": [1]}


def test_fly(ready):
    assert ready["fly"].ask("GET", "/readyz").status == 200
    assert ready["fly"].ask("POST", "/predict", {"instances": [1]}).status == 200


@pytest.mark.parametrize("platform", ["vertex", "kubernetes", "lambda_adapter"])
def test_any_user_may_run_it(ready, platform, user_of):
    assert ready[platform].ask("POST", "/predict", {"instances": []}).json()["uid"] == user_of(platform)


def test_everybody_stops_in_time_and_answers_first(ready, image):
    """A request that has begun is answered, and the exit status is 0, well before the platform would kill."""
    asking = {}
    for name, container in ready.items():
        release = image / "gates" / f"release-{name}"
        request = {"sleep_until": str(release), "instances": [1]}
        answers = []

        def ask(container=container, request=request, answers=answers):
            answers.append(container.ask("POST", "/invocations", request))

        thread = threading.Thread(target=ask)
        thread.start()
        asking[name] = (thread, release, answers)
    for name, (_, release, _) in asking.items():
        begun = release.with_name(release.name + ".begun")
        ready[name].wait_until(begun.exists, f"{name} has not begun")
    for name, container in ready.items():
        container.process.send_signal(signal.SIGINT if name == "fly" else signal.SIGTERM)
    for _, release, _ in asking.values():
        release.touch()
    for name, (thread, _, answers) in asking.items():
        thread.join(SECONDS.get(name, 30))
        assert answers, f"{name} left its request without an answer"
        assert answers[0].json()["predictions"] == [2]
        assert ready[name].process.wait(SECONDS.get(name, 30)) == 0, "".join(ready[name].log)


def test_logs_say_nothing_secret(platforms):
    for container in platforms.values():
        assert "Traceback" not in "".join(container.log)
        assert json.dumps("s3://bucket") not in "".join(container.log)
