"""The configurations of Terraform that plans come with.

What is looked at: their arguments, against what the providers say of their resources (terraform_schemas.json,
which scripts/terraform-schemas makes of packages that are generated from the providers' own schemas); that
every reference is to something that is there, and nothing waits for itself; what another reader of the
language makes of them; and that they tell a cloud what applying the same plan tells it. No Terraform runs
here, and no provider: that `terraform apply` makes of them what `truss deploy` makes is not shown.

The files in `plans/` were read. After a change on purpose:
TRUSS_RENEW=1 python -m pytest tests/deploy/test_terraform.py, and read the difference.
"""

from __future__ import annotations

import base64
import graphlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_server import aws
from google_server import google

from truss.config import parse_config
from truss.deploy import Plan, Release, apply, read_options, target_named
from truss.deploy.aws.network import network
from truss.deploy.plan import Known, resolved
from truss.deploy.registry import BUILT_IN
from truss.deploy.terraform import PATH

PLANS = Path(__file__).with_name("plans")
SCHEMAS = json.loads(Path(__file__).with_name("terraform_schemas.json").read_text())
IMAGE = f"registry.example.com/team/iris@sha256:{'1' * 64}"
HARD = 'a ${b} %{ c } "quoted" \\ $${d} é\n'
CONFIG = """
model_name: iris
environment_variables: {LEVEL: high}
secrets: {api-key: null}
"""
SECRETS = {"api-key": "t0ken"}
GPU = "resources: {accelerator: L4}"
SUBNETS = ["subnet-1", "subnet-2"]
VARIANTS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "ecs": ("ecs", CONFIG, {}),
    "ecs that grows, with HTTPS, inside": (
        "ecs",
        CONFIG,
        {"max_copies": 4, "certificate": "arn:aws:acm:1", "subnets": SUBNETS, "internal": True},
    ),
    "ecs with GPUs, of an image elsewhere": ("ecs", GPU, {"repository": "ghcr.io/team/iris"}),
    "ecs with GPUs of the user's": ("ecs", GPU, {"capacity_provider": "gpus"}),
    "sagemaker": ("sagemaker", CONFIG, {}),
    "sagemaker that grows": ("sagemaker", CONFIG, {"max_copies": 3}),
    "sagemaker without machines": ("sagemaker", CONFIG, {"mode": "serverless"}),
    "sagemaker into a bucket": (
        "sagemaker",
        CONFIG,
        {"mode": "asynchronous", "answers": "s3://answers/iris"},
    ),
    "lambda": ("lambda", CONFIG, {}),
    "lambda for everybody": ("lambda", CONFIG, {"public": True, "most_at_once": 5}),
    "cloud-run": ("cloud-run", CONFIG, {}),
    "cloud-run with a GPU, for everybody": ("cloud-run", GPU, {"public": True, "project": "greenhouse"}),
}
TARGETS = ("ecs", "sagemaker", "lambda", "cloud-run")

every_variant = pytest.mark.parametrize("variant", VARIANTS)


def planned(variant: str, deployment: str = "iris", options: Mapping[str, Any] | None = None) -> Plan:
    name, config, usual = VARIANTS[variant]
    target = target_named(name)
    told = read_options(target, usual if options is None else options)
    return target.plan(Release(deployment, IMAGE, parse_config(config)), told)


def text(plan: Plan) -> str:
    return next(file.text for file in plan.files if file.path == PATH)


def document(variant: str) -> Any:
    return json.loads(text(planned(variant)))


def blocks(document: Any) -> dict[str, Any]:
    """By address, what a configuration makes and looks up."""
    found = {}
    for prefix, part in (("", "resource"), ("data.", "data")):
        for type_, labelled in document.get(part, {}).items():
            found |= {f"{prefix}{type_}.{label}": block for label, block in labelled.items()}
    return found


def of_address(address: str) -> Any:
    """What the provider says of what an address names."""
    type_ = address.rpartition(".")[0]
    provider = type_.removeprefix("data.").partition("_")[0]
    return SCHEMAS[provider]["resources"][type_]


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_the_one_that_was_read(target):
    written = text(planned(target))
    kept = PLANS / f"{target}.tf.json"
    if os.environ.get("TRUSS_RENEW"):
        kept.write_text(written)
    assert written == kept.read_text()


def test_these_targets_have_one():
    """Others write what their own tools take; a model of Vertex AI is no resource of Google's provider."""
    image = f"europe-docker.pkg.dev/greenhouse/models/iris@sha256:{'1' * 64}"
    with_one = set()
    for name in set(BUILT_IN) - {"baseten", "ray"}:  # which take no image
        target = target_named(name)
        options = {"group": "models", "workspace": "orchard"} if name == "azureml" else {}
        plan = target.plan(Release("iris", image, parse_config("")), read_options(target, options))
        with_one |= {name for file in plan.files if file.path == PATH}
    assert with_one == set(TARGETS)
    assert not [name for name in SCHEMAS["google"]["vertex_ai"] if name.endswith("_model")]


_PLAIN: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "bool": (bool,),
    "any": (object,),
}


def wrong(value: Any, kind: Any, where: str = "") -> Iterator[str]:
    """What of a value an argument of a kind does not take; terraform_schemas.py says what kinds there are.

    https://developer.hashicorp.com/terraform/language/syntax/json#nested-block-mapping
    """
    if isinstance(value, str) and re.fullmatch(r"\$\{[^{}]*\}", value) and not _is_block(kind):
        return
    if isinstance(kind, str):
        if type(value) not in _PLAIN[kind] and kind != "any":
            yield f"{where}: {value!r} is no {kind}"
    elif isinstance(kind, list):
        many = value if isinstance(value, list) else [value] if _is_block(kind[0]) else None
        if many is None:
            yield f"{where}: {value!r} is no list"
        for part in many or ():
            yield from wrong(part, kind[0], where)
    elif _is_block(kind):
        block = value[0] if isinstance(value, list) and len(value) == 1 else value
        if not isinstance(block, dict):
            yield f"{where}: {value!r} is no block"
            return
        takes = {name.removeprefix("!"): one for name, one in kind.items()}
        yield from (f"{where}: {name} is unknown" for name in block.keys() - takes.keys())
        yield from (
            f"{where}: {name[1:]} is missing" for name in kind if name[0] == "!" and name[1:] not in block
        )
        for name in block.keys() & takes.keys():
            yield from wrong(block[name], takes[name], f"{where}.{name}")
    elif not isinstance(value, dict):
        yield f"{where}: {value!r} is no map"
    else:
        for key, part in value.items():
            yield from wrong(part, kind[""], f"{where}.{key}")


def _is_block(kind: Any) -> bool:
    """Whether it is a block, or several."""
    one = kind[0] if isinstance(kind, list) else kind
    return isinstance(one, dict) and "" not in one


@every_variant
def test_arguments_are_those_of_the_provider(variant):
    found = document(variant)
    for address, block in blocks(found).items():
        given = {key: value for key, value in block.items() if key not in ("depends_on", "lifecycle")}
        assert list(wrong(given, of_address(address)["arguments"], address)) == []
    ((name, required),) = found["terraform"]["required_providers"].items()
    assert required["source"] == f"hashicorp/{name}"
    # The oldest version that is taken is the one that was looked at; the next major one is not taken.
    assert required["version"] == f"~> {SCHEMAS[name]['version'].rpartition('.')[0]}"
    assert set(found["provider"][name]) <= set(SCHEMAS[name]["settings"])


def test_what_a_provider_does_not_know_is_noticed():
    listener = of_address("aws_lb_listener.iris")["arguments"]
    right = {"load_balancer_arn": "${aws_lb.iris.arn}", "default_action": {"type": "forward"}, "port": 80}
    assert list(wrong(right, listener)) == []
    assert list(wrong(right | {"default_action": [{"type": "forward"}] * 2}, listener)) == []
    for changed, said in (
        ({"ports": 80}, ": ports is unknown"),
        ({"port": "eighty"}, ".port: 'eighty' is no number"),
        ({"port": True}, ".port: True is no number"),
        ({"default_action": {}}, ".default_action: type is missing"),
        ({"default_action": {"type": "x", "to": "y"}}, ".default_action: to is unknown"),
        ({"default_action": "${aws_lb.iris.arn}"}, ".default_action: '${aws_lb.iris.arn}' is no block"),
        ({"tags": ["iris"]}, ".tags: ['iris'] is no map"),
        ({"tags": {"for": 1}}, ".tags.for: 1 is no string"),
    ):
        assert list(wrong(right | changed, listener)) == [said]
    del right["load_balancer_arn"]
    assert list(wrong(right, listener)) == [": load_balancer_arn is missing"]
    lists = of_address("aws_lb.iris")["arguments"]
    assert list(wrong({"subnets": "subnet-1"}, lists)) == [".subnets: 'subnet-1' is no list"]


def expressions(value: Any) -> Iterator[str]:
    """What stands between `${` and `}` where that is no text."""
    if isinstance(value, str):
        yield from re.findall(r"(?<!\$)\$\{([^}]*)\}", value)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from expressions(key)
            yield from expressions(part)
    elif isinstance(value, list):
        for part in value:
            yield from expressions(part)


_DOCUMENT = re.compile(r"jsonencode\((local\.\w+)\)")
_ATTRIBUTE = re.compile(r"((?:data\.)?\w+\.\w+)\.(\w+)(?:\[\d+\])?")


@every_variant
def test_every_reference_is_to_something_that_is_there(variant):
    found = document(variant)
    known = blocks(found)
    values = {f"var.{name}" for name in found["variable"]}
    locals_ = {f"local.{name}": value for name, value in found.get("locals", {}).items()}
    used: set[str] = set()

    def needed(value: Any) -> Iterator[str]:
        """The addresses that a value refers to."""
        for said in expressions(value):
            if said in values:
                used.add(said)
            elif kept := _DOCUMENT.fullmatch(said):
                used.add(kept[1])
                yield from needed(locals_[kept[1]])
            else:
                referred = _ATTRIBUTE.fullmatch(said)
                assert referred is not None, said
                assert referred[1] in known, said
                assert referred[2] in of_address(referred[1])["attributes"], said
                yield referred[1]

    graph = {address: {*needed(block), *block.get("depends_on", ())} for address, block in known.items()}
    for before in graph.values():
        assert before <= known.keys()
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(known)
    assert list(needed(found["output"]))
    list(needed(found["provider"]))
    assert used == values | locals_.keys()  # none is there for nothing


UNMARKED = {
    "aws_appautoscaling_target",  # found by what it scales
    "aws_vpc_security_group_egress_rule",  # found by its group
    "aws_vpc_security_group_ingress_rule",
}


@every_variant
def test_whatever_can_be_marked_is(variant):
    for address, block in blocks(document(variant)).items():
        type_ = address.rpartition(".")[0]
        key, mark = ("labels", "truss-deployment") if type_[0] == "g" else ("tags", "truss:deployment")
        can_be = key in of_address(address)["arguments"] and not type_.startswith("data.")
        assert not can_be or type_ in UNMARKED or block[key][mark] == "iris", address


def test_every_kind_of_the_platforms_is_in_a_plan_here():
    """So that none of them is without a form: a plan with such a one could not be made."""
    for name in TARGETS:
        platform = target_named(name).connect(read_options(target_named(name), {}))
        planned_here = {
            one.kind
            for variant in VARIANTS
            if VARIANTS[variant][0] == name
            for one in planned(variant).resources
        }
        assert planned_here == platform._kinds.keys()


@every_variant
def test_secrets_are_variables_without_a_value(variant):
    found = document(variant)
    secret = {name: said for name, said in found["variable"].items() if said.get("sensitive")}
    assert set(secret) == ({"TRUSS_SECRET_api_key"} if "api-key" in VARIANTS[variant][1] else set())
    assert not [name for name, said in secret.items() if "default" in said]


@every_variant
def test_another_image_is_a_variable(variant):
    found = document(variant)
    assert found["variable"]["image"]["default"] == IMAGE
    assert json.dumps(found).count(IMAGE) == 1
    assert "image" in set(
        re.findall(r"\$\{var\.(\w+)\}", json.dumps([found["resource"], found.get("locals")]))
    )


@pytest.mark.parametrize("name", TARGETS)
def test_another_reader_understands_it(name, tmp_path):
    """Texts are texts, whatever is in them, and documents are JSON."""
    from tfparse import load_from_path

    config = f"environment_variables: {{LEVEL: {json.dumps(HARD)}}}"
    target = target_named(name)
    plan = target.plan(Release("iris", IMAGE, parse_config(config)), read_options(target, {}))
    (tmp_path / "main.tf.json").write_text(text(plan), encoding="utf-8")
    read = load_from_path(str(tmp_path))
    paths = {one["__tfmeta"]["path"] for found in read.values() for one in found}
    assert blocks(json.loads(text(plan))).keys() <= paths
    assert HARD in set(texts([read, [json.loads(one) for one in texts(read) if one.startswith("{")]]))
    for role in read.get("aws_iam_role", ()):
        assert json.loads(role["assume_role_policy"])["Statement"][0]["Action"] == "sts:AssumeRole"


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts(list(value.values()))
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An AWS in which plans are applied, and the certificate that it has."""
    import boto3

    with aws(tmp_path_factory.mktemp("aws")):
        yield boto3.client("acm").request_certificate(DomainName="iris.example.com")["CertificateArn"]


_ASKING = re.compile("Describe|Get|List|Remove")
WORDS = {"ENABLED": "true", "DISABLED": "false", "internal": "true", "internet-facing": "false"}
"""What Terraform has as a yes or no."""
ONLY_TERRAFORM = {
    "ecr:repository": {"true"},  # it goes with its images: that is said when it is removed
    "secretsmanager:secret": {"0"},  # the same of its name, which is free at once
    "ec2:security-group": {"-1", "0.0.0.0/0"},  # copies may ask everybody: AWS says so itself
}


@pytest.mark.parametrize("variant", [name for name in VARIANTS if VARIANTS[name][0] in TARGETS[:3]])
def test_aws_is_told_what_applying_the_plan_tells_it(variant, account):
    """Resource by resource: every value of the calls that make it is one of its blocks', and none is more."""
    name, _, options = VARIANTS[variant]
    if "certificate" in options:
        options = options | {"certificate": account}
    plan = planned(variant, f"iris-{list(VARIANTS).index(variant)}", options)
    found = json.loads(text(plan))
    platform = target_named(name).connect(read_options(target_named(name), options))
    calls: list[Any] = []

    def told(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        if not _ASKING.match(model.name):
            calls.append(params)

    platform.account._session.events.register("provide-client-params", told)
    # The account's own network stands for the subnets that a variant names.
    outputs = {one.key: platform.find(network([])).outputs for one in plan.existing}
    for one in plan.resources:
        calls.clear()
        known = resolved(one, Known(outputs, SECRETS))
        outputs[one.key] = platform.create(known)
        given = {*values(list(outputs.values())), "/".join(known.body.get("label", ()))}
        given |= {other.name for other in plan.resources if other is not one}
        given.add(",".join(known.body.get("subnets", ())))
        there = set(values(calls))
        here = set(values(list(own_blocks(found, one.kind, one.name)), found.get("locals")))
        assert {said for said in there - here - given if WORDS.get(said) not in here} == set()
        assert here - there - {WORDS.get(said) for said in there} <= ONLY_TERRAFORM.get(one.kind, set())


@pytest.mark.parametrize("variant", [name for name in VARIANTS if VARIANTS[name][0] == "cloud-run"])
def test_google_is_told_what_applying_the_plan_tells_it(variant, tmp_path):
    """Every value of the blocks is one that the APIs have then; of the service, none is more there."""
    plan = planned(variant)
    platform = target_named("cloud-run").connect(read_options(target_named("cloud-run"), {}))
    with google(tmp_path) as apis:
        apply(plan, platform, SECRETS)
        there = {part for path in apis.things for part in path.split("/")}
        there |= {*values(list(apis.things.values())), *values(list(apis.policies.values()))}
        service = apis.things["projects/greenhouse/locations/us-central1/services/iris"]
    here = set(values(json.loads(text(plan))["resource"], {}))
    told = {base64.b64encode(SECRETS["api-key"].encode()).decode(): SECRETS["api-key"]}
    # An account's address begins with its name, and Google's messages leave out a nought.
    assert here - {told.get(said, said) for said in there} == {"truss-iris", "0"}
    known = {"truss-iris@greenhouse.iam.gserviceaccount.com", "1", "model-1"}  # the last Google names itself
    assert set(values([service["template"], service["traffic"]])) - here <= known


def values(value: Any, locals_: Any = None) -> Iterator[str]:
    """The values in it as texts, and of a text of JSON those in that.

    Args:
        value: Arguments of calls or of blocks.
        locals_: The documents that blocks refer to.
    """
    if isinstance(value, Mapping):
        pair = value.keys() & {"Key", "key"}  # of a tag, or of an attribute
        apart = {
            *pair,
            "ClientRequestToken",
            "ClientToken",
            "ResourceType",
            "resource_type",
            "depends_on",
            "lifecycle",
        }
        yield from values([part for key, part in value.items() if key not in apart], locals_)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from values(part, locals_)
    elif isinstance(value, str) and value[:1] in ("{", "["):
        yield from values(json.loads(value))
    elif isinstance(value, str) and locals_ is not None and "${" in value:
        if kept := _DOCUMENT.fullmatch(value[2:-1]):
            yield from values(locals_[kept[1].removeprefix("local.")], locals_)
        yield from {"${var.image}": [IMAGE], "${var.TRUSS_SECRET_api_key}": list(SECRETS.values())}.get(
            value, []
        )
    elif isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, str):
        yield value
    elif value is not None:
        yield f"{value:g}"


_TYPES = {
    "ecr:repository": "aws_ecr_",
    "secretsmanager:secret": "aws_secretsmanager_",
    "logs:log-group": "aws_cloudwatch_log_group",
    "iam:role": "aws_iam_role",
    "iam:instance-profile": "aws_iam_instance_profile",
    "ec2:launch-template": "aws_launch_template",
    "autoscaling:group": "aws_autoscaling_group",
    "ecs:capacity-provider": "aws_ecs_(capacity_provider|cluster_capacity_providers)",
    "ec2:security-group": "aws_(vpc_)?security_group",
    "elbv2:load-balancer": "aws_lb$",
    "elbv2:target-group": "aws_lb_target_group",
    "elbv2:listener": "aws_lb_listener",
    "ecs:cluster": "aws_ecs_cluster",
    "ecs:task-definition": "aws_ecs_task_definition",
    "ecs:service": "aws_ecs_service",
    "application-autoscaling:target": "aws_appautoscaling_",
    "sagemaker:model": "aws_sagemaker_model",
    "sagemaker:endpoint-config": "aws_sagemaker_endpoint_configuration",
    "sagemaker:endpoint": "aws_sagemaker_endpoint$",
    "lambda:function": "aws_lambda_function$",
    "lambda:url": "aws_lambda_(function_url|permission)",
}


def own_blocks(document: Any, kind: str, name: str) -> Iterator[Any]:
    """Those of a resource of the plan."""
    label = re.sub("[^A-Za-z0-9]+", "_", name).strip("_")
    for type_, labelled in document["resource"].items():
        if re.match(_TYPES[kind], type_):
            yield from (block for key, block in labelled.items() if key.startswith(label))
