"""What a platform is too small for is refused in the plan, with what is not."""

import pytest

from truss.config import parse_config
from truss.deploy import Release, read_options, target_named
from truss.errors import PlanError

IMAGE = f"registry.example.com/iris@sha256:{'1' * 64}"


def planned(name, config, **options):
    target = target_named(name)
    return target.plan(Release("iris", IMAGE, parse_config(config)), read_options(target, options))


@pytest.mark.parametrize(
    ("name", "options", "most", "instead"),
    [
        ("cloud-run", {}, "32 MiB", "kubernetes"),
        ("vertex", {}, "9.54 MiB", "kubernetes"),
        ("lambda", {}, "5.72 MiB", "ecs"),
        ("sagemaker", {}, "23.8 MiB", "ecs"),
    ],
)
def test_bodies_that_a_platform_does_not_let_through(name, options, most, instead):
    planned(name, "", **options)
    planned(name, "runtime: {max_body: 1Mi}", **options)
    with pytest.raises(PlanError, match=most) as caught:
        planned(name, "runtime: {max_body: 20G}", **options)
    assert caught.value.where == "runtime.max_body"
    assert instead in caught.value.hint


def test_asynchronous_endpoints_take_larger_ones():
    words = {"mode": "asynchronous", "answers": "s3://answers/iris"}
    planned("sagemaker", "runtime: {max_body: 500M}", **words)
    with pytest.raises(PlanError, match="954 MiB"):
        planned("sagemaker", "runtime: {max_body: 20G}", **words)
