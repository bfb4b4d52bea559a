"""`truss deploy` to Kubernetes, Knative and KServe: real kubectl, against a stand-in for the API server."""

import contextlib
import itertools
import json
import shutil
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml
from aws_server import free_address
from cluster_server import Cluster, running_cluster
from published_models import MODELS, knative_service, knative_switches, kserve_inference_service

from truss.cli import main
from truss.config import parse_config
from truss.deploy import Release, apply, read_options, target_named
from truss.errors import PlanError, PlatformAuthError, QuotaError
from truss.testing.targets import PlatformConformance

IMAGE = "registry.example.com/team/iris@sha256:" + "1" * 64
OTHER = "registry.example.com/team/iris@sha256:" + "2" * 64
CONFIG = """
model_name: iris
resources: {cpu: 500m, memory: 4Gi, accelerator: "L4:2"}
environment_variables: {LEVEL: high}
secrets: {api-key: null}
"""
VERSIONS = ("1.32", "1.34", "1.36")
TARGETS = ("kubernetes", "knative", "kserve")
ON_KNATIVE = (("knative", {}), ("kserve", {"mode": "Knative"}))

needs_kubectl = pytest.mark.skipif(
    not shutil.which("kubectl"), reason="kubectl is missing: scripts/setup-kubectl"
)
needs_models = pytest.mark.skipif(
    not (MODELS / ".installed").exists(),
    reason="the makers' forms are missing: scripts/setup-kubernetes-models",
)


def planned(name, config=CONFIG, image=IMAGE, **options):
    target = target_named(name)
    return target.plan(Release("iris", image, parse_config(config)), read_options(target, options))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "options", [{}, {"min_replicas": 2, "max_replicas": 5, "service_type": "LoadBalancer"}]
)
def test_manifests_are_what_kubernetes_takes(version, options):
    plan = planned("kubernetes", node_selector={"gpu": "l4"}, image_pull_secret="pull", **options)
    kinds = [resource.kind for resource in plan.resources]
    assert kinds[:3] == ["Secret", "Deployment", "Service"]
    assert (kinds[3:] == ["HorizontalPodAutoscaler", "PodDisruptionBudget"]) is bool(options)
    for resource in plan.resources:
        body = json.loads(json.dumps(resource.body, default=str))
        kubernetes_validate.validate(body, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["knative", "kserve"])
def test_pods_of_other_makers_are_pods(name, version):
    body = planned(name).resources[-1].body
    spec = body["spec"]["predictor"] if name == "kserve" else body["spec"]["template"]["spec"]
    own = {"containerConcurrency", "timeoutSeconds", "minReplicas", "maxReplicas", "timeout"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "iris"},
        "spec": {key: value for key, value in spec.items() if key not in own},
    }
    kubernetes_validate.validate(json.loads(json.dumps(pod)), version, strict=True)


def checked(name, body):
    """Refuse a manifest that is not what its makers publish."""
    schema = knative_service() if name == "knative" else kserve_inference_service()
    jsonschema.Draft202012Validator(schema).validate(body)


def manifest(name, config=CONFIG, **options):
    return json.loads(json.dumps(planned(name, config, **options).resources[-1].body))


GRPC = CONFIG + "runtime: {grpc: {port: 8081}}\n"


@needs_models
@pytest.mark.parametrize(("name", "options"), ON_KNATIVE)
def test_knative_is_told_of_http2_when_it_is_asked_for(name, options):
    for wanted, port, told in (
        (False, "http1", "passes on no gRPC; --http2"),
        (True, "h2c", "answers gRPC only"),
    ):
        plan = planned(name, GRPC, http2=wanted, **options)
        body = json.loads(json.dumps(plan.resources[-1].body))
        checked(name, body)
        spec = body["spec"]["predictor"] if name == "kserve" else body["spec"]["template"]["spec"]
        assert spec["containers"][0]["ports"] == [{"name": port, "containerPort": 8080}]
        assert plan.asked is not wanted
        assert any(told in one for one in plan.notes)
    assert not any("gRPC" in one for one in planned(name, **options).notes)
    with pytest.raises(PlanError, match="it has no gRPC"):
        planned(name, http2=True, **options)


def test_http2_does_nothing_where_both_versions_are_passed_on():
    with pytest.raises(PlanError, match="--http2 does nothing in this mode"):
        planned("kserve", GRPC, http2=True)


@needs_models
@pytest.mark.parametrize("config", [CONFIG, "model_name: iris"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("knative", {}),
        ("knative", {"internal": True, "min_replicas": 1, "concurrency": 4, "timeout": 900}),
        ("knative", {"image_pull_secret": "pull", "node_selector": {"gpu": "l4"}}),
        ("kserve", {}),
        ("kserve", {"mode": "Knative", "min_replicas": 0, "timeout": 900}),
        ("kserve", {"image_pull_secret": "pull", "node_selector": {"gpu": "l4"}, "max_replicas": 3}),
    ],
)
def test_manifests_are_what_their_makers_publish(name, options, config):
    """Every field is one of theirs; that their controllers admit the values, this does not show."""
    checked(name, manifest(name, config, **options))


@needs_models
@pytest.mark.parametrize(
    ("name", "place", "field", "value"),
    [
        ("knative", ("spec", "template", "spec"), "timeoutSecond", 300),
        ("knative", ("spec", "template", "spec"), "timeoutSeconds", "300"),
        ("knative", ("spec", "template", "spec", "containers", 0), "volumeMount", []),
        ("knative", ("spec", "template", "spec", "containers", 0, "ports", 0), "containerPort", "8080"),
        ("knative", ("spec", "traffic", 0), "latest", True),
        ("kserve", ("spec", "predictor"), "minReplica", 1),
        ("kserve", ("spec", "predictor"), "minReplicas", "1"),
        ("kserve", ("spec",), "predictors", {}),
    ],
)
def test_what_their_makers_do_not_publish_is_refused(name, place, field, value):
    body = manifest(name)
    within = body
    for step in place:
        within = within[step]
    within[field] = value
    with pytest.raises(jsonschema.ValidationError) as caught:
        checked(name, body)
    assert field in str(caught.value)


@needs_models
@pytest.mark.parametrize("options", [{}, {"node_selector": {"gpu": "l4"}}])
def test_a_switch_that_knative_wants_is_told(options):
    # This one is on unless somebody turned it off.
    switches = knative_switches(manifest("knative", **options)) - {"kubernetes.podspec-volumes-emptydir"}
    assert bool(switches) is bool(options)
    for notes in (planned(name, **options, **mode).notes for name, mode in ON_KNATIVE):
        assert all(switch in "".join(notes) for switch in switches)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with running_cluster() as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig(tmp_path)))
        monkeypatch.setenv("TRUSS_SECRET_api-key", "s3cret")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running


class OnCluster(PlatformConformance):
    @pytest.fixture(autouse=True)
    def _cluster(self, cluster):
        self.cluster = cluster

    @contextlib.contextmanager
    def platform(self):
        self.cluster.objects.clear()
        yield self.target.connect(read_options(self.target, self.options))


@needs_kubectl
class TestKubernetes(OnCluster):
    target = target_named("kubernetes")
    options = {"min_replicas": 2, "max_replicas": 5}  # noqa: RUF012  # never changed


@needs_kubectl
class TestKnative(OnCluster):
    target = target_named("knative")


@needs_kubectl
class TestKServe(OnCluster):
    target = target_named("kserve")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `truss WORDS...` about a Truss with an example."""
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path))
    folder = tmp_path / "iris"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "model" / "model.py").write_text(
        "class Model:\n    def predict(self, request):\n        return 1\n"
    )
    (folder / "examples.yaml").write_text("- {name: one, input: {inputs: []}, expected: 1}\n")

    def run(command, *words, ok=True):
        status = main([command, str(folder), *map(str, words)])
        ran = capsys.readouterr()
        assert (status == 0) is ok, ran.out + ran.err
        assert "Traceback" not in ran.err
        assert "s3cret" not in ran.out + ran.err
        return ran

    return run


@needs_kubectl
@pytest.mark.parametrize("name", TARGETS)
def test_from_the_first_deployment_to_the_last_trace(name, cluster, run):
    words = ("--to", name, "--yes", "--json")
    # With all the kinds that there can be.
    most = ("--min-replicas", 2, "--max-replicas", 5)
    cluster.answers = [1, 1, 1]
    first = json.loads(run("deploy", *words, *most, "--image", IMAGE).out)
    assert (first["state"], first["image"]) == ("healthy", IMAGE)
    kinds = {found["kind"] for found in cluster.objects.values()}
    assert "Secret" in kinds

    cluster.asked.clear()
    assert json.loads(run("deploy", *words, *most, "--image", IMAGE).out) == first
    assert cluster.asked == []
    shown = run("deploy", "--to", name, *most, "--image", OTHER, "--plan").out
    assert OTHER in shown
    assert cluster.asked == []

    second = json.loads(run("deploy", *words, *most, "--image", OTHER).out)
    assert second["image"] == OTHER
    assert len(cluster.asked) == 1
    assert json.loads(run("status", "--to", name, "--json").out) == second
    assert "the server is ready" in run("logs", "--to", name).out
    listed = json.loads(run("rollback", "--to", name, "--list", "--json").out)
    assert [(one["image"], one["current"]) for one in listed] == [(IMAGE, False), (OTHER, True)]
    assert json.loads(run("rollback", "--to", name, "--json").out) == first

    removed = json.loads(run("destroy", *words).out)["removed"]
    assert cluster.objects == {}
    assert {key.partition("/")[0] for key in removed} == kinds
    assert "nothing is deployed" in run("status", "--to", name, ok=False).err

    # A cluster takes its time to remove something, and kubectl watches it: this one has nothing to watch.
    allowed = {right for right in permitted(name) if right[2] != "watch"}
    assert cluster.rights == allowed


def permitted(name):
    """What a target's Role allows."""
    rules = yaml.safe_load(target_named(name).permissions().text)["rules"]
    return {
        right
        for rule in rules
        for right in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


@needs_kubectl
@pytest.mark.parametrize("broken_after", range(3))
def test_a_deployment_that_broke_off_is_gone_on_with(cluster, run, broken_after):
    cluster.answers = [1, 1]
    words = ("deploy", "--to", "kubernetes", "--yes", "--image", IMAGE)
    run(*words)
    for place in list(itertools.islice(cluster.objects, broken_after, None)):
        del cluster.objects[place]
    cluster.asked.clear()
    run(*words)
    assert len(cluster.objects) == 3
    assert len(cluster.asked) == 3 - broken_after


@needs_kubectl
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("knative", "/apis/serving.knative.dev/v1/namespaces/default/services/iris"),
        ("kserve", "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices/iris"),
    ],
)
def test_what_others_made_of_it_is_left_alone(name, place, cluster, run):
    body = manifest(name)
    head = {"name": "iris", "namespace": "default", "generation": 1, "labels": {"team": "roses"}}
    theirs = {**body, "metadata": head}
    cluster.objects[place] = theirs
    refused = run("deploy", "--to", name, "--yes", "--image", IMAGE, ok=False)
    assert "not made by Truss" in refused.err
    assert "--name" in refused.err
    assert cluster.objects == {place: theirs}
    run("destroy", "--to", name, "--yes", ok=False)
    assert list(cluster.objects.values()) == [theirs]


@needs_kubectl
def test_what_others_made_is_left_alone(cluster, run):
    theirs = {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": "iris", "generation": 1},
        "spec": {},
    }
    cluster.objects["/api/v1/namespaces/default/services/iris"] = theirs
    refused = run("deploy", "--to", "kubernetes", "--yes", "--image", IMAGE, ok=False)
    assert "not made by Truss" in refused.err
    assert cluster.objects == {"/api/v1/namespaces/default/services/iris": theirs}
    run("destroy", "--to", "kubernetes", "--yes", ok=False)
    assert list(cluster.objects.values()) == [theirs]


@needs_kubectl
@pytest.mark.parametrize("name", TARGETS)
def test_a_new_one_that_fails_gives_way_to_the_one_before(name, cluster, run):
    cluster.answers = [1, 2, 1]
    words = ("deploy", "--to", name, "--yes", "--image")
    run(*words, IMAGE)
    failed = run(*words, OTHER, ok=False)
    assert "'one'" in failed.err
    assert "went back to revision 1" in failed.err
    assert json.loads(run("status", "--to", name, "--json").out)["image"] == IMAGE


@needs_kubectl
def test_what_the_cluster_says_of_a_failure_is_told(cluster, run):
    cluster.conditions = [
        {
            "type": "Progressing",
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": "no nodes",
        }
    ]
    failed = run("deploy", "--to", "kubernetes", "--yes", "--image", IMAGE, ok=False)
    assert "no nodes" in failed.err
    assert "truss logs" in failed.err


_FORBIDDEN = 'secrets "iris-secrets" is forbidden: User "me" cannot patch resource "secrets" in API group ""'
# https://kubernetes.io/docs/concepts/policy/resource-quotas/
_QUOTA = 'pods "iris" is forbidden: exceeded quota: compute, requested: limits.memory=4Gi, limited: 2Gi'


@needs_kubectl
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    ("status", "said", "error", "hint"),
    [
        (401, "must be logged in", PlatformAuthError, "log in"),
        (403, _FORBIDDEN, PlatformAuthError, "the right to do this"),
        (403, _QUOTA, QuotaError, "a higher limit"),
    ],
)
def test_refusals_are_told_apart_and_nothing_is_made(name, status, said, error, hint, cluster):
    """In an API server's words and form; that a cluster refuses in these cases, this does not show."""
    cluster.refuses, cluster.says = status, said
    target = target_named(name)
    platform = target.connect(read_options(target, {}))
    with pytest.raises(error) as caught:
        apply(planned(name), platform, {"api-key": "s3cret"})
    assert hint in caught.value.hint
    assert said in caught.value.message
    assert cluster.objects == {}
    cluster.refuses = 0
    apply(planned(name), platform, {"api-key": "s3cret"})
    assert cluster.objects


@needs_kubectl
@pytest.mark.parametrize("name", TARGETS)
def test_a_cluster_that_does_not_answer_is_named_with_what_to_do(name, run, monkeypatch, tmp_path):
    address = free_address()
    gone = Cluster(port=int(address.rpartition(":")[2]))
    monkeypatch.setenv("KUBECONFIG", str(gone.kubeconfig(tmp_path)))
    said = run("status", "--to", name, ok=False).err
    assert address.rpartition("/")[2] in said
    assert "can be reached from here" in said


@needs_kubectl
def test_without_a_cluster_or_kubectl(run, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    unnamed = run("status", "--to", "kubernetes", ok=False).err
    assert "localhost:8080" in unnamed  # where kubectl looks then
    assert "can be reached from here" in unnamed
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install kubectl" in run("status", "--to", "kubernetes", ok=False).err


@needs_kubectl
@pytest.mark.parametrize("name", TARGETS)
def test_files_are_a_base_for_kustomize(name, run, tmp_path, cluster):
    run("deploy", "--to", name, "--image", IMAGE, "--out", tmp_path / "out")
    built = subprocess.run(
        ["kubectl", "kustomize", tmp_path / "out"], capture_output=True, text=True, check=True
    ).stdout
    documents = list(yaml.safe_load_all(built))
    wanted = [resource.body for resource in planned(name).resources if resource.kind != "Secret"]
    assert sorted(documents, key=str) == sorted(json.loads(json.dumps(wanted)), key=str)
    dry = subprocess.run(
        ["kubectl", "apply", "--dry-run=client", "--validate=false", "-k", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert dry.stdout.count("(dry run)") == len(documents)
    assert cluster.objects == {}
