"""No option of a target is taken and then left out of account, whatever else the target is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from truss.config import parse_config
from truss.deploy import Plan, Release, read_options, target_named
from truss.deploy.registry import BUILT_IN
from truss.deploy.target import ArchiveTarget
from truss.errors import PlanError

IMAGE = f"team.azurecr.io/iris@sha256:{'1' * 64}"
GPUS = "resources: {accelerator: T4}"

# What a target is told besides: in each mode all of its options are tried.
MODES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "ecs": [("", {}), (GPUS, {}), (GPUS, {"capacity_provider": "ours"}), ("", {"repository": "ours/iris"})],
    "sagemaker": [
        ("", {}),
        ("", {"mode": "serverless"}),
        ("", {"mode": "asynchronous", "answers": "s3://answers"}),
    ],
    "cloud-run": [("", {}), ("resources: {accelerator: L4}", {})],
    "container-apps": [("", {}), ("", {"environment": "ours", "identity": "ours"})],
    "kubernetes": [("", {}), (GPUS, {}), ("", {"max_replicas": 4})],
    "knative": [("", {}), (GPUS, {})],
    "kserve": [("", {}), (GPUS, {"mode": "Knative"})],
    "ray": [("", {}), (GPUS, {"max_replicas": 4}), ("", {"repository": "s3://ours/iris"})],
    "huggingface-endpoints": [("", {}), ("", {"min_replicas": 0})],
    "fly": [("", {})],
    "lambda": [("", {}), ("", {"public": True})],
}
BOTH: list[tuple[str, dict[str, Any]]] = [("", {}), (GPUS, {})]

# What says where the platform is reached, and what is done there by hand; a plan needs none of it.
CONNECTING = {
    "ecs": {"profile", "registry", "region"},
    "sagemaker": {"profile", "registry", "region"},
    "lambda": {"profile", "registry", "region"},
    "cloud-run": {"project", "region"},
    "vertex": {"project", "region"},
    "container-apps": {"subscription", "group"},
    "azureml": {"subscription", "group", "workspace"},
    "kubernetes": {"context"},
    "knative": {"context"},
    "kserve": {"context"},
    "ray": {"address", "url"},
    "ssh": {"host", "ssh_port"},
}


def planned(name: str, config: str, options: dict[str, Any]) -> Plan:
    target = target_named(name)
    return target.plan(Release("iris", IMAGE, parse_config(config)), read_options(target, options))


def told(name: str, config: str, options: dict[str, Any]) -> Any:
    """All that a plan says, and where the image goes."""
    target = target_named(name)
    read = read_options(target, options)
    places = target.archive("1" * 64, read) if isinstance(target, ArchiveTarget) else ""
    return planned(name, config, options), target.repository(read), places


def other(name: str, hint: Any, default: Any) -> Any:
    """Another value of an option."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return next(one for one in get_args(hint) if one != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return 60 if name == "traffic" else default + 3
    return {tuple: ("subnet-1",), dict: {"zone": "a"}, str: "other"}[get_origin(hint) or hint]


def _every_option() -> Iterator[Any]:
    for name in BUILT_IN:
        target = target_named(name)
        hints = get_type_hints(target.options, include_extras=True)
        for number, (config, besides) in enumerate(MODES.get(name, BOTH)):
            defaults = read_options(target, besides)
            for field in msgspec.structs.fields(target.options):
                if field.name not in CONNECTING.get(name, ()) and field.name not in besides:
                    value = other(field.name, hints[field.name], getattr(defaults, field.name))
                    marks = f"{name}-{number}-{field.name}"
                    yield pytest.param(name, config, besides, field.name, value, id=marks)


@pytest.mark.parametrize(("name", "config", "besides", "option", "value"), list(_every_option()))
def test_an_option_changes_the_plan_or_is_refused(name, config, besides, option, value):
    before = told(name, config, besides)
    try:
        after = told(name, config, {**besides, option: value})
    except PlanError as error:
        assert error.hint  # noqa: PT017  # either will do
    else:
        assert after != before


@pytest.mark.parametrize(
    ("name", "config", "options", "option", "said"),
    [
        (
            "sagemaker",
            "",
            {"mode": "serverless", "machine": "ml.m5.large"},
            "machine",
            "--machine does nothing on SageMaker's serverless endpoints",
        ),
        ("sagemaker", "", {"mode": "serverless", "min_copies": 2}, "min_copies", "--min-copies does nothing"),
        ("sagemaker", "", {"answers": "s3://answers"}, "answers", "--answers does nothing where"),
        ("ecs", "", {"disk": 200}, "disk", "--disk does nothing on Fargate"),
        ("ecs", GPUS, {"capacity_provider": "ours", "disk": 200}, "disk", "with --capacity-provider"),
        ("ecs", "", {"requests_a_minute": 10}, "requests_a_minute", "the number of copies is fixed"),
        ("kubernetes", "", {"target_cpu": 50}, "target_cpu", "the number of copies is fixed"),
        ("kserve", "", {"gpu_resource": "amd.com/gpu"}, "gpu_resource", "without GPUs"),
        ("ray", "", {"target_ongoing_requests": 2}, "target_ongoing_requests", "the number of copies"),
        ("huggingface-endpoints", "", {"idle_minutes": 5}, "idle_minutes", "where a copy always runs"),
    ],
)
def test_what_would_do_nothing_is_refused_by_name_with_what_to_do(name, config, options, option, said):
    with pytest.raises(PlanError, match=said) as caught:
        planned(name, config, options)
    assert caught.value.where == f"deploy.{name}.{option}"
    assert "leave it out" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("ecs", "min_copies", "max_copies"),
        ("sagemaker", "min_copies", "max_copies"),
        ("cloud-run", "min_copies", "max_copies"),
        ("vertex", "min_copies", "max_copies"),
        ("kubernetes", "min_replicas", "max_replicas"),
        ("knative", "min_replicas", "max_replicas"),
        ("kserve", "min_replicas", "max_replicas"),
        ("ray", "min_replicas", "max_replicas"),
        ("modal", "min_containers", "max_containers"),
        ("skypilot", "min_replicas", "max_replicas"),
        ("huggingface-endpoints", "min_replicas", "max_replicas"),
    ],
)
def test_fewer_at_most_than_at_least(name, least, most):
    with pytest.raises(PlanError, match="7 copies at least and 5 at most") as caught:
        planned(name, "", {least: 7, most: 5})
    assert caught.value.where == f"deploy.{name}.{most}"
    # A default is no wish of anybody's.
    plan = planned(name, "", {least: 23})
    text = "".join(f"{one.body}" for one in plan.resources)
    assert "23" in text
    assert planned(name, "", {least: 23, most: 23}).resources == plan.resources
