"""AWS's resources as Terraform writes them.

https://registry.terraform.io/providers/hashicorp/aws/latest/docs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from truss.deploy.aws import (
    balancer,
    capacity,
    logs,
    network,
    repositories,
    roles,
    scaling,
    secrets,
    tasks,
)
from truss.deploy.aws.account import MARK
from truss.deploy.plan import Output, Plan, Resource
from truss.deploy.release import PORT
from truss.deploy.terraform import Block, Document, Form, Joined, Own, Provider, snake_case, with_terraform

_SOURCE, _VERSION = "hashicorp/aws", "~> 6.25"


def written(plan: Plan, image: str, region: str, scaled: scaling.Scaling | None = None) -> Plan:
    """A plan with its configuration among its files.

    Args:
        plan: The plan.
        image: What it runs.
        region: The region; empty: the one that Terraform's provider finds.
        scaled: How its copies are scaled, if they are.
    """
    forms = _FORMS if scaled is None else {**_FORMS, scaled.kind: _scaling(scaled)}
    settings = {"region": ("The region; by default that of the credentials' profile.", region)}
    return with_terraform(plan, Provider("aws", _SOURCE, _VERSION, forms), image, settings)


def _tags(body: Mapping[str, Any]) -> dict[str, Any]:
    return {MARK: body["deployment"]}


def _policy(*statements: Mapping[str, Any]) -> Document:
    return Document({"Version": "2012-10-17", "Statement": list(statements)})


def _repository(one: Resource) -> Iterator[Block]:
    # It goes with its images, as `truss destroy` has it.
    yield Block("aws_ecr_repository", {"name": one.name, "force_delete": True, "tags": _tags(one.body)})
    if readers := one.body["readers"]:
        policy = _policy(repositories.reading(readers))
        yield Block("aws_ecr_repository_policy", {"repository": Own("name"), "policy": policy})


def _secret(one: Resource) -> Iterator[Block]:
    # Its name is free at once when it is removed, as with `truss destroy`.
    named = {"name": one.name, "recovery_window_in_days": 0, "tags": _tags(one.body)}
    yield Block("aws_secretsmanager_secret", named)
    value = {"secret_id": Own("id"), "secret_string": one.body["value"]}
    yield Block("aws_secretsmanager_secret_version", value)


def _log_group(one: Resource) -> Iterator[Block]:
    days = one.body["retention_days"]
    group = {"name": one.name, "retention_in_days": days, "tags": _tags(one.body)}
    yield Block("aws_cloudwatch_log_group", group)


def _role(one: Resource) -> Iterator[Block]:
    body = one.body
    trust = Document(roles.trust(body["service"]))
    yield Block("aws_iam_role", {"name": one.name, "assume_role_policy": trust, "tags": _tags(body)})
    for arn in body["policies"]:
        attached = {"role": Own("name"), "policy_arn": arn}
        yield Block("aws_iam_role_policy_attachment", attached, part=arn.rpartition("/")[2])
    if body["statements"]:
        own = {"name": roles.INLINE, "role": Own("name"), "policy": _policy(*body["statements"])}
        yield Block("aws_iam_role_policy", own)


def _network(one: Resource) -> Iterator[Block]:
    named = one.body["subnets"]
    wanted = {"name": "subnet-id", "values": named} if named else snake_case(network.DEFAULT_SUBNETS[0])
    yield Block("aws_subnets", {"filter": [wanted]}, looked_up=True)
    yield Block("aws_subnet", {"id": Own("ids[0]")}, looked_up=True)
    yield Block("aws_region", {}, looked_up=True)


def _security_group(one: Resource) -> Iterator[Block]:
    body = one.body
    group = {"name": one.name, "description": network.DESCRIPTION, "vpc_id": body["vpc"]}
    yield Block("aws_security_group", {**group, "tags": _tags(body)})
    whom = "referenced_security_group_id" if isinstance(body["from"], Output) else "cidr_ipv4"
    port = {"from_port": body["port"], "to_port": body["port"], "ip_protocol": "tcp"}
    let_in = {"security_group_id": Own("id"), **port, whom: body["from"]}
    yield Block("aws_vpc_security_group_ingress_rule", let_in)
    # Every group of AWS has this, and Terraform takes it away.
    let_out = {"security_group_id": Own("id"), "ip_protocol": "-1", "cidr_ipv4": "0.0.0.0/0"}
    yield Block("aws_vpc_security_group_egress_rule", let_out)


def _balancer(one: Resource) -> Iterator[Block]:
    body = one.body
    said = {
        "name": one.name,
        "load_balancer_type": "application",
        "internal": body["scheme"] == "internal",
        "subnets": body["subnets"],
        "security_groups": body["security_groups"],
        "idle_timeout": body["timeout"],
        "tags": _tags(body),
    }
    yield Block("aws_lb", said)


_HEALTH = {
    "HealthCheckPath": "path",
    "HealthCheckIntervalSeconds": "interval",
    "HealthCheckTimeoutSeconds": "timeout",
    "HealthyThresholdCount": "healthy_threshold",
    "UnhealthyThresholdCount": "unhealthy_threshold",
    "Matcher": "matcher",
}
"""What Terraform calls how a balancer looks whether copies can answer."""


def _target_group(one: Resource) -> Iterator[Block]:
    body = one.body
    health = {_HEALTH[key]: value for key, value in balancer.health(body).items()}
    said = {
        "name": one.name,
        "protocol": "HTTP",
        "port": PORT,
        "vpc_id": body["vpc"],
        "target_type": body["targets"],
        "deregistration_delay": str(body["drain"]),
        "health_check": {**health, "matcher": health["matcher"]["HttpCode"]},
        "tags": _tags(body),
    }
    yield Block("aws_lb_target_group", said)


def _listener(one: Resource) -> Iterator[Block]:
    body = one.body
    said = {
        "load_balancer_arn": body["balancer"],
        "protocol": "HTTPS" if body["certificate"] else "HTTP",
        "port": body["port"],
        "certificate_arn": body["certificate"] or None,
        "default_action": {"type": "forward", "target_group_arn": body["targets"]},
        "tags": _tags(body),
    }
    yield Block("aws_lb_listener", said)


def _address(one: Resource) -> Mapping[str, Any]:
    scheme = "https" if one.body["certificate"] else "http"
    return {"url": Joined((f"{scheme}://", Output(one.body["balancer"].resource, "address")))}


def _cluster(one: Resource) -> Iterator[Block]:
    yield Block("aws_ecs_cluster", {"name": one.name, "tags": _tags(one.body)})
    if providers := one.body["capacity"]:
        given = {"cluster_name": Own("name"), "capacity_providers": providers}
        yield Block("aws_ecs_cluster_capacity_providers", given)


def _instance_profile(one: Resource) -> Iterator[Block]:
    role = Output(f"{roles.Role.kind}/{one.body['role']}", "name")
    yield Block("aws_iam_instance_profile", {"name": one.name, "role": role, "tags": _tags(one.body)})


def _launch_template(one: Resource) -> Iterator[Block]:
    given = snake_case(capacity.encoded(one.body["definition"]))
    profile = Output(f"{capacity.InstanceProfile.kind}/{given['iam_instance_profile']['name']}", "name")
    said = {
        "name": one.name,
        "vpc_security_group_ids": given.pop("security_group_ids"),
        **given,
        "iam_instance_profile": {"name": profile},
        "block_device_mappings": [
            {**disk, "ebs": _as_texts(disk["ebs"])} for disk in given["block_device_mappings"]
        ],
        "tag_specifications": [{**made, "tags": _tags(one.body)} for made in given["tag_specifications"]],
        "tags": _tags(one.body),
    }
    yield Block("aws_launch_template", said)


def _as_texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Yes and no as texts, which is how Terraform tells them from what is not said."""
    return {key: str(value).lower() if isinstance(value, bool) else value for key, value in values.items()}


def _group(one: Resource) -> Iterator[Block]:
    body = one.body
    # The second ECS puts there by itself, and Terraform takes it away.
    marks = [{"key": MARK, "value": body["deployment"]}, {"key": "AmazonECSManaged", "value": "true"}]
    said = {
        "name": one.name,
        "launch_template": {"id": body["template"], "version": "$Latest"},
        "min_size": body["least"],
        "max_size": body["most"],
        "vpc_zone_identifier": body["subnets"],
        "protect_from_scale_in": body["protected"],
        # Its machines go with it, as with `truss destroy`.
        "force_delete": True,
        "tag": [{**mark, "propagate_at_launch": True} for mark in marks],
    }
    yield Block("aws_autoscaling_group", said)


def _capacity_provider(one: Resource) -> Iterator[Block]:
    if not one.body:  # the user's own
        return
    cluster = Output(f"{tasks.Cluster.kind}/{one.body['cluster']}", "name")
    definition = snake_case(one.body["definition"])
    said = {"name": one.name, "auto_scaling_group_provider": definition, "tags": _tags(one.body)}
    yield Block("aws_ecs_capacity_provider", said)
    given = {"cluster_name": cluster, "capacity_providers": [Own("name")]}
    yield Block("aws_ecs_cluster_capacity_providers", given)


def _task_definition(one: Resource) -> Iterator[Block]:
    given = dict(one.body["definition"])
    containers = Document(given.pop("containerDefinitions"))
    said = {**snake_case(given), "container_definitions": containers, "tags": _tags(one.body)}
    yield Block("aws_ecs_task_definition", said)


def _service(one: Resource) -> Iterator[Block]:
    body = one.body
    launched = snake_case(tasks.launch(body))
    where = launched["network_configuration"].pop("awsvpc_configuration")
    where["assign_public_ip"] = where["assign_public_ip"] == "ENABLED"
    rolling = snake_case(tasks.ROLLING)
    said = {
        "name": one.name,
        "cluster": Output(f"{tasks.Cluster.kind}/{tasks.cluster_name(one.name)}", "arn"),
        "desired_count": 1 if body["copies"] is None else body["copies"],
        **launched,
        "network_configuration": where,
        "load_balancer": snake_case(tasks.behind(body)),
        "health_check_grace_period_seconds": tasks.LOADING_SECONDS,
        "deployment_circuit_breaker": rolling.pop("deployment_circuit_breaker"),
        **{f"deployment_{key}": value for key, value in rolling.items()},
        "propagate_tags": "SERVICE",
        "tags": _tags(body),
    }
    if body["copies"] is None:
        said["lifecycle"] = {"ignore_changes": ["desired_count"]}
    yield Block("aws_ecs_service", said)


def _model(one: Resource) -> Iterator[Block]:
    said = snake_case(one.body["definition"], free=("environment",))
    yield Block("aws_sagemaker_model", {**said, **_succeeded(one.body)})


def _endpoint_config(one: Resource) -> Iterator[Block]:
    yield Block(
        "aws_sagemaker_endpoint_configuration", {**snake_case(one.body["definition"]), **_succeeded(one.body)}
    )


def _succeeded(body: Mapping[str, Any]) -> dict[str, Any]:
    """Of what cannot be changed: Terraform names it, and makes the next before it removes the last."""
    return {"tags": _tags(body), "lifecycle": {"create_before_destroy": True}}


def _endpoint(one: Resource) -> Iterator[Block]:
    said = {"name": one.name, "endpoint_config_name": one.body["config"], "tags": _tags(one.body)}
    yield Block("aws_sagemaker_endpoint", said)


def _function(one: Resource) -> Iterator[Block]:
    body = one.body
    said = {
        "function_name": one.name,
        "package_type": "Image",
        "image_uri": body["image"],
        "role": body["role"],
        "memory_size": body["memory"],
        "timeout": body["timeout"],
        "ephemeral_storage": {"size": body["temporary"]},
        "environment": {"variables": body["environment"]},
        "publish": True,
        "reserved_concurrent_executions": body["most_at_once"] or None,
        "tags": _tags(body),
    }
    yield Block("aws_lambda_function", said)


def _url(one: Resource) -> Iterator[Block]:
    named = {"function_name": Output(one.body["function"].resource, "name")}
    public = one.body["public"]
    auth = "NONE" if public else "AWS_IAM"
    yield Block("aws_lambda_function_url", {**named, "authorization_type": auth})
    for action, more in _PUBLIC.items() if public else ():
        said = {"statement_id": f"public-{action}", "action": f"lambda:{action}", "principal": "*"}
        yield Block("aws_lambda_permission", {**named, **said, **more}, part=action)


_PUBLIC = {"InvokeFunctionUrl": {"function_url_auth_type": "NONE"}, "InvokeFunction": {}}
"""What everybody may do who uses an address that wants no signature."""


def _scaling(scaled: scaling.Scaling) -> Form:
    def blocks(one: Resource) -> Iterator[Block]:
        body, which = one.body, snake_case(scaled.which(one.name))
        bounds = {"min_capacity": body["least"], "max_capacity": body["most"]}
        yield Block("aws_appautoscaling_target", {**which, **bounds})
        metric: dict[str, Any] = {"predefined_metric_type": scaled.metric}
        if label := body["label"]:
            metric["resource_label"] = Joined((label[0], "/", label[1]))
        tracked = {
            "target_value": body["requests_a_minute"],
            "predefined_metric_specification": metric,
        }
        policy = {
            "name": scaling.POLICY,
            "policy_type": "TargetTrackingScaling",
            **{key: Own(key) for key in which},
            "target_tracking_scaling_policy_configuration": tracked,
        }
        yield Block("aws_appautoscaling_policy", policy)

    return Form(blocks, after=(tasks.Service.kind, "sagemaker:endpoint"))


_FORMS: Mapping[str, Form] = {
    repositories.ImageRepository.kind: Form(_repository),
    secrets.Secret.kind: Form(
        _secret,
        {
            "arn": "aws_secretsmanager_secret.{label}.arn",
            "version": "aws_secretsmanager_secret_version.{label}.version_id",
        },
    ),
    logs.LogGroup.kind: Form(_log_group),
    roles.Role.kind: Form(_role, {"arn": "aws_iam_role.{label}.arn", "name": "aws_iam_role.{label}.name"}),
    network.Network.kind: Form(
        _network,
        {
            "vpc": "data.aws_subnet.{label}.vpc_id",
            "subnets": "data.aws_subnets.{label}.ids",
            "region": "data.aws_region.{label}.region",
        },
    ),
    network.SecurityGroup.kind: Form(_security_group, {"id": "aws_security_group.{label}.id"}),
    balancer.LoadBalancer.kind: Form(
        _balancer,
        {
            "arn": "aws_lb.{label}.arn",
            "label": "aws_lb.{label}.arn_suffix",
            "address": "aws_lb.{label}.dns_name",
        },
    ),
    balancer.TargetGroup.kind: Form(
        _target_group,
        {"arn": "aws_lb_target_group.{label}.arn", "label": "aws_lb_target_group.{label}.arn_suffix"},
    ),
    balancer.Listener.kind: Form(_listener, shown=_address),
    tasks.Cluster.kind: Form(
        _cluster, {"arn": "aws_ecs_cluster.{label}.arn", "name": "aws_ecs_cluster.{label}.name"}
    ),
    capacity.InstanceProfile.kind: Form(_instance_profile, {"name": "aws_iam_instance_profile.{label}.name"}),
    capacity.LaunchTemplate.kind: Form(_launch_template, {"id": "aws_launch_template.{label}.id"}),
    capacity.Group.kind: Form(_group, {"arn": "aws_autoscaling_group.{label}.arn"}),
    capacity.CapacityProvider.kind: Form(_capacity_provider),
    tasks.TaskDefinition.kind: Form(_task_definition, {"arn": "aws_ecs_task_definition.{label}.arn"}),
    # Copies can be behind a balancer once it has their target group.
    tasks.Service.kind: Form(_service, after=(balancer.Listener.kind, capacity.CapacityProvider.kind)),
    "sagemaker:model": Form(_model, {"name": "aws_sagemaker_model.{label}.name"}),
    "sagemaker:endpoint-config": Form(
        _endpoint_config, {"name": "aws_sagemaker_endpoint_configuration.{label}.name"}
    ),
    "sagemaker:endpoint": Form(_endpoint, shown=lambda _: {"endpoint": Own("name")}),
    "lambda:function": Form(
        _function,
        {"arn": "aws_lambda_function.{label}.arn", "name": "aws_lambda_function.{label}.function_name"},
        # It may take its image once that lets it, and would make its group by itself.
        after=(repositories.ImageRepository.kind, logs.LogGroup.kind),
    ),
    "lambda:url": Form(_url, shown=lambda _: {"url": Own("function_url")}),
}
