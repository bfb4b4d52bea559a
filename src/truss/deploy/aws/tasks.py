"""ECS: clusters, task definitions and services.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from truss.deploy.aws import roles
from truss.deploy.aws.account import MARK, Account, marked
from truss.deploy.changes import restricted
from truss.deploy.plan import Resource
from truss.deploy.target import Found

_NO_CLUSTER = "ClusterNotFoundException"
_NO_DEFINITION = ("ClientException", "InvalidParameterException")
_GONE = frozenset({"INACTIVE", "DRAINING"})


class Cluster:
    """Where services run."""

    kind = "ecs:cluster"

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        body = resource.body
        made = account.call(
            "ecs",
            "create_cluster",
            clusterName=resource.name,
            capacityProviders=body["capacity"],
            tags=_tags(body["deployment"]),
        )["cluster"]
        return {"arn": made["clusterArn"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it other capacity."""
        account.call(
            "ecs",
            "put_cluster_capacity_providers",
            cluster=resource.name,
            capacityProviders=resource.body["capacity"],
            defaultCapacityProviderStrategy=[],
        )
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it."""
        account.gone("ecs", "delete_cluster", _NO_CLUSTER, cluster=found.name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, cluster_name(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = account.first("ecs", "describe_clusters", "clusters", clusters=[name], include=["TAGS"])
        if told is None or told["status"] == "INACTIVE":
            return None
        deployment = marked(told.get("tags"))
        body = {"deployment": deployment, "capacity": told.get("capacityProviders", [])}
        return Found(self.kind, name, body, deployment, {"arn": told["clusterArn"]})


class TaskDefinition:
    """What a copy consists of; each change makes a revision, and those before it stay to go back to."""

    kind = "ecs:task-definition"

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The newest revision, in what the plan says of it."""
        told = self._newest(account, resource.name)
        if told is None:
            return None
        deployment = marked(told["tags"])
        actual = restricted(told["taskDefinition"], resource.body["definition"])
        body = {"deployment": deployment, "definition": actual}
        return Found(
            self.kind,
            resource.name,
            body,
            deployment,
            {"arn": told["taskDefinition"]["taskDefinitionArn"]},
            frozenset({"arn"}),
        )

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make a revision."""
        made = roles.once_known(
            account,
            "ecs",
            "register_task_definition",
            **resource.body["definition"],
            tags=_tags(resource.body["deployment"]),
        )
        return {"arn": made["taskDefinition"]["taskDefinitionArn"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002
        """Make another revision."""
        return self.create(account, resource)

    def delete(self, account: Account, found: Found) -> None:
        """Retire every revision."""
        for arn in definitions(account, found.name):
            account.gone("ecs", "deregister_task_definition", *_NO_DEFINITION, taskDefinition=arn)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The family of the deployment's name, if it has its mark."""
        told = self._newest(account, deployment)
        if told is None or marked(told["tags"]) != deployment:
            return []
        outputs = {"arn": told["taskDefinition"]["taskDefinitionArn"]}
        return [Found(self.kind, deployment, {"definition": told["taskDefinition"]}, deployment, outputs)]

    def _newest(self, account: Account, family: str) -> Any | None:
        arns = definitions(account, family)
        if not arns:
            return None
        return account.call("ecs", "describe_task_definition", taskDefinition=arns[-1], include=["TAGS"])


class Service:
    """Copies that are kept running behind a balancer."""

    kind = "ecs:service"

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name in the deployment's cluster."""
        found = self._named(account, resource.name)
        if found is None or resource.body["copies"] is not None:
            return found
        return replace(found, body={**found.body, "copies": None})

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        body = resource.body
        made = account.call(
            "ecs",
            "create_service",
            serviceName=resource.name,
            cluster=cluster_name(resource.name),
            desiredCount=1 if body["copies"] is None else body["copies"],
            loadBalancers=[behind(body)],
            # A copy that comes up is let alone until it has had time to load its model.
            healthCheckGracePeriodSeconds=LOADING_SECONDS,
            deploymentConfiguration=ROLLING,
            propagateTags="SERVICE",
            tags=_tags(body["deployment"]),
            **launch(body),
        )["service"]
        return {"arn": made["serviceArn"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Have it run another revision; copies are replaced one after the other."""
        body = resource.body
        launched = {key: value for key, value in launch(body).items() if key != "launchType"}
        copies = {} if body["copies"] is None else {"desiredCount": body["copies"]}
        account.call(
            "ecs",
            "update_service",
            cluster=cluster_name(resource.name),
            service=resource.name,
            **launched,
            **copies,
        )
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it and its copies."""
        account.gone(
            "ecs",
            "delete_service",
            _NO_CLUSTER,
            "ServiceNotFoundException",
            cluster=cluster_name(found.name),
            service=found.name,
            force=True,
        )

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, deployment)
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = described(account, name)
        if told is None:
            return None
        deployment = marked(told.get("tags"))
        net = told["networkConfiguration"]["awsvpcConfiguration"]
        behind = told["loadBalancers"][0]
        body = {
            "deployment": deployment,
            "definition": told["taskDefinition"],
            "copies": told["desiredCount"],
            "launch": told.get("launchType", ""),
            "subnets": sorted(net["subnets"]),
            "security_groups": net["securityGroups"],
            "targets": behind["targetGroupArn"],
            "container": behind["containerName"],
            "port": behind["containerPort"],
        }
        return Found(self.kind, name, body, deployment, {"arn": told["serviceArn"]})


ROLLING = {
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
    "deploymentCircuitBreaker": {"enable": True, "rollback": False},
}
LOADING_SECONDS = 1800


def cluster_name(deployment: str) -> str:
    """The name of a deployment's cluster."""
    return f"truss-{deployment}"


def definitions(account: Account, family: str) -> list[str]:
    """The revisions of a family that can be run, the oldest first."""
    arns = account.listed(
        "ecs", "list_task_definitions", "taskDefinitionArns", familyPrefix=family, status="ACTIVE"
    )
    mine = [arn for arn in arns if arn.rpartition("/")[2].rpartition(":")[0] == family]
    return sorted(mine, key=lambda arn: int(arn.rpartition(":")[2]))


def described(account: Account, name: str) -> Any | None:
    """What ECS says of a deployment's service."""
    told = account.first(
        "ecs",
        "describe_services",
        "services",
        _NO_CLUSTER,
        cluster=cluster_name(name),
        services=[name],
        include=["TAGS"],
    )
    return None if told is None or told["status"] in _GONE else told


def behind(body: Mapping[str, Any]) -> dict[str, Any]:
    """Where copies of a service get requests from."""
    return {
        "targetGroupArn": body["targets"],
        "containerName": body["container"],
        "containerPort": body["port"],
    }


def launch(body: Mapping[str, Any]) -> dict[str, Any]:
    """What copies of a service run, where, and in which network."""
    net = {
        "subnets": body["subnets"],
        "securityGroups": body["security_groups"],
        # Without an address of its own a copy reaches no registry, unless the network has a gateway.
        "assignPublicIp": "ENABLED" if body["launch"] == "FARGATE" else "DISABLED",
    }
    return {
        "taskDefinition": body["definition"],
        "launchType": body["launch"],
        "networkConfiguration": {"awsvpcConfiguration": net},
    }


def _tags(deployment: str) -> list[dict[str, str]]:
    return [{"key": MARK, "value": deployment}]
