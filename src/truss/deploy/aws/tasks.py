"""ECS: clusters, task definitions and services.

https://docs.aws.amazon.com/AmazonECS/latest/APIReference/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from truss.deploy.aws import patience, roles
from truss.deploy.aws.account import MARK, Account, marked
from truss.deploy.aws.permissions import MARKING, Right, service_linked
from truss.deploy.changes import restricted
from truss.deploy.plan import Resource
from truss.deploy.target import Found
from truss.errors import DeployError

_FARGATE = "FARGATE"
"""A way of launching copies, and the name of a capacity provider as well."""
_NO_CLUSTER = "ClusterNotFoundException"
_NO_DEFINITION = ("ClientException", "InvalidParameterException")
_GONE = frozenset({"INACTIVE", "DRAINING"})
_IN_USE = (
    "ClusterContainsTasksException",
    "ClusterContainsServicesException",
    "ClusterContainsContainerInstancesException",
    "ClusterContainsCapacityProviderException",
    "UpdateInProgressException",
)


class Cluster:
    """Where services run."""

    kind = "ecs:cluster"
    rights = (
        Right(
            "ecs",
            (
                "CreateCluster",
                "DeleteCluster",
                "DescribeClusters",
                "PutClusterCapacityProviders",
                "TagResource",
            ),
            ("cluster/truss-*",),
        ),
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using-service-linked-roles.html
        service_linked("ecs.amazonaws.com"),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name; of its capacity what the plan wants, for it may have more."""
        found = self._named(account, resource.name)
        if found is None:
            return None
        has = [one for one in resource.body["capacity"] if one in found.body["capacity"]]
        return replace(found, body={**found.body, "capacity": has})

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        body = resource.body
        made = account.call(
            "ecs",
            "create_cluster",
            clusterName=resource.name,
            capacityProviders=body["capacity"],
            tags=tags_of(body["deployment"]),
        )["cluster"]
        return {"arn": made["clusterArn"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it the capacity that it lacks."""
        add_capacity(account, resource.name, resource.body["capacity"])
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it, when the last of what ran in it is gone."""
        patience.gone(account, "ecs", "delete_cluster", _NO_CLUSTER, *_IN_USE, cluster=found.name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, cluster_name(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = _described_cluster(account, name)
        if told is None:
            return None
        deployment = marked(told.get("tags"))
        body = {"deployment": deployment, "capacity": told.get("capacityProviders") or []}
        return Found(self.kind, name, body, deployment, {"arn": told["clusterArn"]})


class TaskDefinition:
    """What a copy consists of; each change makes a revision, and those before it stay to go back to."""

    kind = "ecs:task-definition"
    rights = (
        Right("ecs", ("DeregisterTaskDefinition", "DescribeTaskDefinition", "ListTaskDefinitions")),
        # Their names are those of deployments, without anything in front.
        Right("ecs", ("RegisterTaskDefinition",), ("task-definition/*:*",), MARKING),
        Right(
            "ecs",
            ("TagResource",),
            ("task-definition/*:*",),
            {"StringEquals": {"ecs:CreateAction": "RegisterTaskDefinition"}},
        ),
    )

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
            tags=tags_of(resource.body["deployment"]),
        )
        return {"arn": made["taskDefinition"]["taskDefinitionArn"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002
        """Make another revision; those that never ran, since a deployment broke off, are retired."""
        told, arns = described(account, resource.name), definitions(account, resource.name)
        if told is not None and told["taskDefinition"] in arns:
            for arn in arns[arns.index(told["taskDefinition"]) + 1 :]:
                account.call("ecs", "deregister_task_definition", taskDefinition=arn)
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
    rights = (
        Right(
            "ecs",
            ("CreateService", "DeleteService", "DescribeServices", "TagResource", "UpdateService"),
            ("service/truss-*/*",),
        ),
    )

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
            tags=tags_of(body["deployment"]),
            **launch(body),
        )["service"]
        return {"arn": made["serviceArn"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Have it run another revision; copies are replaced one after the other."""
        body = resource.body
        launched = {key: value for key, value in launch(body).items() if key != "launchType"}
        if any(body.get(key) != found.body.get(key) for key in ("launch", "capacity_provider")):
            # Fargate is a capacity provider as well, and the only way of launching that can be gone over to.
            fargate = {"capacityProviderStrategy": _strategy(body["launch"])} if "launch" in body else {}
            launched |= fargate | {"forceNewDeployment": True}
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
        """Remove it and its copies, and wait until they stop: what they run on is free then."""
        account.gone(
            "ecs",
            "delete_service",
            _NO_CLUSTER,
            "ServiceNotFoundException",
            cluster=cluster_name(found.name),
            service=found.name,
            force=True,
        )
        patience.until(lambda: not _draining(account, found.name), f"the copies of {found.name} to stop")

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, deployment)
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = described(account, name)
        if told is None:
            return None
        deployment = marked(told.get("tags"))
        if not deployment:  # somebody's may be of any form
            return Found(self.kind, name, {})
        net = told["networkConfiguration"]["awsvpcConfiguration"]
        behind, provider = told["loadBalancers"][0], runs_on(told)
        body = {
            "deployment": deployment,
            "definition": told["taskDefinition"],
            "copies": told["desiredCount"],
            **({"capacity_provider": provider} if provider else {"launch": _FARGATE}),
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
    told = _described_service(account, name)
    return None if told is None or told["status"] in _GONE else told


def run_earlier(account: Account, name: str, definition: str) -> None:
    """Have a deployment's service run an earlier revision, where that ran: on Fargate, or on machines.

    Raises:
        DeployError: it ran on machines, and the cluster has none any more.
    """
    told = described(account, name)
    if told is None:
        return
    revision = account.call("ecs", "describe_task_definition", taskDefinition=definition)["taskDefinition"]
    on_machines = "EC2" in revision.get("requiresCompatibilities", ())
    moved: dict[str, Any] = {}
    if on_machines != bool(runs_on(told)):
        machines = [one for one in capacity_of(account, cluster_name(name)) if not one.startswith(_FARGATE)]
        if on_machines and not machines:
            raise DeployError(
                f"{definition.rpartition('/')[2]} ran on machines of EC2, which {name} no longer has",
                where="ecs:service",
                hint="deploy that image again, with the options of then: --image IMAGE",
            )
        net = told["networkConfiguration"]["awsvpcConfiguration"]
        body = {
            "definition": definition,
            "subnets": net["subnets"],
            "security_groups": net["securityGroups"],
            "capacity_provider": machines[0] if on_machines else _FARGATE,
        }
        moved = {**launch(body), "forceNewDeployment": True}
    account.call(
        "ecs",
        "update_service",
        cluster=cluster_name(name),
        service=name,
        **{"taskDefinition": definition, **moved},
    )


def runs_on(told: Mapping[str, Any]) -> str:
    """The capacity provider of the machines that a service's copies run on; empty: they run on Fargate."""
    strategy = told.get("capacityProviderStrategy")
    provider = str(strategy[0]["capacityProvider"]) if strategy else ""
    return "" if provider == _FARGATE else provider


def capacity_of(account: Account, cluster: str) -> list[str]:
    """The names of the capacity providers that a cluster has; none, if there is no such cluster."""
    told = _described_cluster(account, cluster)
    return list(told.get("capacityProviders") or ()) if told is not None else []


def add_capacity(account: Account, cluster: str, providers: Sequence[str]) -> None:
    """Give capacity providers to a cluster, beside those that it has."""
    has = capacity_of(account, cluster)
    if lacking := [one for one in providers if one not in has]:
        _put_capacity(account, cluster, [*has, *lacking])


def take_capacity(account: Account, cluster: str, provider: str) -> None:
    """Take a capacity provider from a cluster, as soon as no copy is left that runs on it."""
    has = capacity_of(account, cluster)
    if provider in has:
        _put_capacity(account, cluster, [one for one in has if one != provider])


def _put_capacity(account: Account, cluster: str, providers: Sequence[str]) -> None:
    """Give a cluster just these, and wait until it has them.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutClusterCapacityProviders.html
    """
    told = patience.in_time(
        account,
        "ecs",
        "put_cluster_capacity_providers",
        "ResourceInUseException",
        "UpdateInProgressException",
        cluster=cluster,
        capacityProviders=list(providers),
        defaultCapacityProviderStrategy=[],
    )["cluster"]

    def settled() -> bool:
        told = _described_cluster(account, cluster) or {}
        state = told.get("attachmentsStatus")
        if state == "UPDATE_FAILED":
            raise DeployError(
                f"ECS cannot give the cluster {cluster} its capacity: {told.get('attachments')}",
                hint="look at the cluster's capacity providers in AWS's console",
            )
        return state != "UPDATE_IN_PROGRESS"

    if told.get("attachmentsStatus"):
        patience.until(settled, f"the cluster {cluster} to have its capacity")


def _described_cluster(account: Account, name: str) -> Any | None:
    told = account.first("ecs", "describe_clusters", "clusters", clusters=[name], include=["TAGS"])
    return None if told is None or told["status"] == "INACTIVE" else told


def _described_service(account: Account, name: str) -> Any | None:
    return account.first(
        "ecs",
        "describe_services",
        "services",
        _NO_CLUSTER,
        cluster=cluster_name(name),
        services=[name],
        include=["TAGS"],
    )


def _draining(account: Account, name: str) -> bool:
    told = _described_service(account, name)
    return told is not None and told["status"] == "DRAINING"


def behind(body: Mapping[str, Any]) -> dict[str, Any]:
    """Where copies of a service get requests from."""
    return {
        "targetGroupArn": body["targets"],
        "containerName": body["container"],
        "containerPort": body["port"],
    }


def launch(body: Mapping[str, Any]) -> dict[str, Any]:
    """What copies of a service run, where, and in which network."""
    on_fargate = _FARGATE in (body.get("launch"), body.get("capacity_provider"))
    net = {
        "subnets": body["subnets"],
        "securityGroups": body["security_groups"],
        # Without an address of its own a copy reaches no registry, unless the network has a gateway.
        # On a machine it has none, and needs none for that: it is the machine that gets images and secrets.
        "assignPublicIp": "ENABLED" if on_fargate else "DISABLED",
    }
    provider = body.get("capacity_provider")
    runs_on = (
        {"capacityProviderStrategy": _strategy(provider)} if provider else {"launchType": body["launch"]}
    )
    return {
        "taskDefinition": body["definition"],
        **runs_on,
        "networkConfiguration": {"awsvpcConfiguration": net},
    }


def _strategy(provider: str) -> list[dict[str, Any]]:
    return [{"capacityProvider": provider, "weight": 1}]


def tags_of(deployment: str) -> list[dict[str, str]]:
    """The mark of a deployment, as ECS takes tags."""
    return [{"key": MARK, "value": deployment}]
