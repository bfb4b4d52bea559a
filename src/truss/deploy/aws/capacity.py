"""Machines of EC2 that a deployment's copies run on: what they start as, how many, and how ECS has them.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-auto-scaling.html
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from truss.deploy.aws import network, patience, roles, tasks
from truss.deploy.aws.account import MARK, Account, marked, tags
from truss.deploy.aws.machines import Machines
from truss.deploy.aws.permissions import MARKED, MARKING, Right, service_linked
from truss.deploy.changes import restricted
from truss.deploy.plan import Output, Resource
from truss.deploy.target import Found
from truss.errors import DeployError

_ABSENT = "NoSuchEntity"
_ROLE = "machine"
POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
_IMAGE = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"

# What copies may do is their own role's: they do not reach that of the machine.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
_USER_DATA = """#!/bin/bash
cat >> /etc/ecs/ecs.config <<'END'
ECS_CLUSTER={cluster}
ECS_ENABLE_GPU_SUPPORT=true
ECS_AWSVPC_BLOCK_IMDS=true
END
"""

_SCALING = {
    "managedScaling": {"status": "ENABLED", "targetCapacity": 100},
    "managedTerminationProtection": "ENABLED",
    "managedDraining": "ENABLED",
}


_STARTED_WITH = tuple(
    f"{one}/*"
    for one in (
        "image",
        "instance",
        "launch-template",
        "network-interface",
        "security-group",
        "subnet",
        "volume",
    )
)
"""What the right to start machines is asked for; of an image of AWS's, the account is empty."""


class InstanceProfile:
    """How a machine has its role.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2_instance-profiles.html
    """

    kind = "iam:instance-profile"
    rights = (
        Right(
            "iam",
            (
                "AddRoleToInstanceProfile",
                "CreateInstanceProfile",
                "DeleteInstanceProfile",
                "GetInstanceProfile",
                "RemoveRoleFromInstanceProfile",
                "TagInstanceProfile",
            ),
            ("instance-profile/truss-*",),
        ),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name, with its role."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, and give it its role."""
        marks = tags(resource.body["deployment"])
        account.call("iam", "create_instance_profile", InstanceProfileName=resource.name, Tags=marks)
        return self.update(account, resource, Found(self.kind, resource.name, {}))

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it its role in the place of another."""
        self._take(account, found)
        role = resource.body["role"]
        account.call("iam", "add_role_to_instance_profile", InstanceProfileName=resource.name, RoleName=role)
        return {}

    def delete(self, account: Account, found: Found) -> None:
        """Take its role away, then remove it."""
        self._take(account, found)
        account.gone("iam", "delete_instance_profile", _ABSENT, InstanceProfileName=found.name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, roles.role_name(deployment, _ROLE))
        return [found] if found is not None and found.deployment == deployment else []

    def _take(self, account: Account, found: Found) -> None:
        if role := found.body.get("role"):
            which = {"InstanceProfileName": found.name, "RoleName": role}
            account.gone("iam", "remove_role_from_instance_profile", _ABSENT, **which)

    def _named(self, account: Account, name: str) -> Found | None:
        told = account.get(
            "iam", "get_instance_profile", "InstanceProfile", _ABSENT, InstanceProfileName=name
        )
        if told is None:
            return None
        deployment = marked(told.get("Tags"))
        role = next((one["RoleName"] for one in told["Roles"]), "")
        return Found(self.kind, name, {"deployment": deployment, "role": role}, deployment)


class LaunchTemplate:
    """What a machine starts as; each change makes a version, and machines start from the newest.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplate.html
    """

    kind = "ec2:launch-template"
    rights = (
        Right("ec2", ("DescribeLaunchTemplateVersions", "DescribeLaunchTemplates")),
        Right("ec2", ("CreateLaunchTemplate",), ("launch-template/*",), MARKING),
        Right(
            "ec2",
            ("CreateTags",),
            ("launch-template/*",),
            {"StringEquals": {"ec2:CreateAction": "CreateLaunchTemplate"}},
        ),
        Right("ec2", ("CreateLaunchTemplateVersion", "DeleteLaunchTemplate"), ("launch-template/*",), MARKED),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The newest version of the one of this name, in what the plan says of it."""
        found = self._named(account, resource.name)
        if found is None:
            return None
        told = account.first(
            "ec2",
            "describe_launch_template_versions",
            "LaunchTemplateVersions",
            LaunchTemplateId=found.outputs["id"],
            Versions=["$Latest"],
        )
        data = dict(told["LaunchTemplateData"]) if told is not None else {}
        data["UserData"] = base64.b64decode(data.get("UserData", "")).decode()
        definition = restricted(data, resource.body["definition"])
        body = {"deployment": found.deployment, "definition": definition}
        return Found(self.kind, resource.name, body, found.deployment, found.outputs)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        marks = [{"ResourceType": "launch-template", "Tags": tags(resource.body["deployment"])}]
        made = account.call(
            "ec2",
            "create_launch_template",
            LaunchTemplateName=resource.name,
            LaunchTemplateData=encoded(resource.body["definition"]),
            TagSpecifications=marks,
        )
        return {"id": made["LaunchTemplate"]["LaunchTemplateId"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Make another version; machines that run stay until they are not needed."""
        account.call(
            "ec2",
            "create_launch_template_version",
            LaunchTemplateId=found.outputs["id"],
            LaunchTemplateData=encoded(resource.body["definition"]),
        )
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it."""
        absent = "InvalidLaunchTemplateId.NotFound"
        account.gone("ec2", "delete_launch_template", absent, LaunchTemplateId=found.outputs["id"])

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, capacity_name(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        wanted = [{"Name": "launch-template-name", "Values": [name]}]
        told = account.first("ec2", "describe_launch_templates", "LaunchTemplates", Filters=wanted)
        if told is None:
            return None
        deployment = marked(told.get("Tags"))
        return Found(self.kind, name, {}, deployment, {"id": told["LaunchTemplateId"]})


class Group:
    """How many machines there are; ECS says how many within these bounds.

    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html
    """

    kind = "autoscaling:group"
    rights = (
        Right("autoscaling", ("DescribeAutoScalingGroups", "DescribeScalingActivities")),
        Right(
            "autoscaling",
            (
                "CreateAutoScalingGroup",
                "CreateOrUpdateTags",
                "DeleteAutoScalingGroup",
                "UpdateAutoScalingGroup",
            ),
            ("autoScalingGroup:*:autoScalingGroupName/truss-*",),
        ),
        # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
        Right("ec2", ("RunInstances",), _STARTED_WITH),
        Right(
            "ec2",
            ("CreateTags",),
            ("instance/*", "volume/*"),
            {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        ),
        Right("ssm", ("GetParameters",), ("parameter/aws/service/ecs/*",)),
        service_linked("autoscaling.amazonaws.com"),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, as soon as the profile of its machines is known there and one of its name is gone."""
        marks = {
            "ResourceId": resource.name,
            "ResourceType": "auto-scaling-group",
            "Key": MARK,
            "Value": resource.body["deployment"],
            "PropagateAtLaunch": True,
        }
        patience.in_time(
            account,
            "autoscaling",
            "create_auto_scaling_group",
            "Invalid IAM Instance Profile",
            "pending delete",
            **_bounds(resource),
            Tags=[marks],
        )
        found = self._named(account, resource.name)
        return found.outputs if found is not None else {}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it other bounds, or machines elsewhere."""
        account.call("autoscaling", "update_auto_scaling_group", **_bounds(resource))
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it with its machines, and wait until they are gone: what they are in is free then."""
        if _group(account, found.name) is None:
            return
        patience.in_time(
            account,
            "autoscaling",
            "delete_auto_scaling_group",
            "ScalingActivityInProgress",
            "ResourceContention",
            AutoScalingGroupName=found.name,
            ForceDelete=True,
        )
        patience.until(lambda: _group(account, found.name) is None, f"the machines of {found.name} to stop")

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, capacity_name(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = _group(account, name)
        if told is None:
            return None
        deployment = marked(told.get("Tags"))
        body = {
            "deployment": deployment,
            "template": told.get("LaunchTemplate", {}).get("LaunchTemplateId", ""),
            "least": told["MinSize"],
            "most": told["MaxSize"],
            "subnets": sorted(told.get("VPCZoneIdentifier", "").split(",")),
            "protected": told.get("NewInstancesProtectedFromScaleIn", False),
        }
        return Found(self.kind, name, body, deployment, {"arn": told["AutoScalingGroupARN"]})


class CapacityProvider:
    """How ECS has a group's machines: it starts one when a copy has no place, and stops one without copies.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCapacityProvider.html
    """

    kind = "ecs:capacity-provider"
    rights = (
        Right(
            "ecs",
            (
                "CreateCapacityProvider",
                "DeleteCapacityProvider",
                "DescribeCapacityProviders",
                "TagResource",
                "UpdateCapacityProvider",
            ),
            ("capacity-provider/truss-*",),
        ),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name, and whether its cluster has it."""
        told = _provider(account, resource.name)
        if told is None:
            return None
        deployment, cluster = marked(told.get("tags")), resource.body.get("cluster", "")
        has = cluster and resource.name in tasks.capacity_of(account, cluster)
        group = told.get("autoScalingGroupProvider", {})
        body = {
            "deployment": deployment,
            "cluster": cluster if has else "",
            "definition": restricted(group, resource.body.get("definition", {})),
        }
        return Found(self.kind, resource.name, body, deployment)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, and give it to the cluster."""
        account.call(
            "ecs",
            "create_capacity_provider",
            name=resource.name,
            autoScalingGroupProvider=resource.body["definition"],
            tags=tasks.tags_of(resource.body["deployment"]),
        )
        tasks.add_capacity(account, resource.body["cluster"], [resource.name])
        return {}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Have it scale as it should, and give it to the cluster.

        Raises:
            DeployError: it is over another group, which cannot be changed.
        """
        wanted, had = resource.body["definition"], found.body["definition"]
        if wanted["autoScalingGroupArn"] != had["autoScalingGroupArn"]:
            raise DeployError(
                f"{resource.key} is over a group of machines that is not {capacity_name(found.deployment)}",
                hint="destroy the deployment, then deploy it again: its group was made anew by somebody",
            )
        if wanted != had:
            changed = {key: value for key, value in wanted.items() if key != "autoScalingGroupArn"}
            patience.in_time(
                account,
                "ecs",
                "update_capacity_provider",
                "UpdateInProgressException",
                name=resource.name,
                autoScalingGroupProvider=changed,
            )
        tasks.add_capacity(account, resource.body["cluster"], [resource.name])
        return {}

    def delete(self, account: Account, found: Found) -> None:
        """Take it from the cluster when no copy is left on it, remove it, and wait until it is gone."""
        tasks.take_capacity(account, tasks.cluster_name(found.deployment), found.name)
        if _provider(account, found.name) is None:
            return
        told = patience.in_time(
            account,
            "ecs",
            "delete_capacity_provider",
            "UpdateInProgressException",
            capacityProvider=found.name,
        )["capacityProvider"]
        if told.get("updateStatus") == "DELETE_FAILED":
            raise DeployError(
                f"ECS does not remove {found.key}: {told.get('updateStatusReason')}",
                hint="take it out of every other cluster, then destroy again",
            )
        patience.until(lambda: _provider(account, found.name) is None, f"{found.key} to be gone")

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        name = capacity_name(deployment)
        told = _provider(account, name)
        mine = told is not None and marked(told.get("tags")) == deployment
        return [Found(self.kind, name, {}, deployment)] if mine else []


KINDS = (InstanceProfile(), LaunchTemplate(), Group(), CapacityProvider())


def capacity_name(deployment: str) -> str:
    """The name of a deployment's launch template, its group and its capacity provider."""
    return f"truss-{deployment}"


def machine_role(deployment: str) -> Resource:
    """The role of a deployment's machines, with which they join its cluster and get images."""
    return roles.role(deployment, _ROLE, "ec2.amazonaws.com", [POLICY])


def capacity(deployment: str, machines: Machines, least: int, most: int) -> Iterator[Resource]:
    """Machines for a deployment's copies; its cluster is there before them.

    There may be twice as many as the copies need: while one copy takes another's place, both have a GPU.

    Args:
        deployment: The deployment.
        machines: What they are.
        least: How many copies there are at least.
        most: How many copies there are at most.
    """
    name, profile = capacity_name(deployment), roles.role_name(deployment, _ROLE)
    yield Resource(
        InstanceProfile.kind,
        profile,
        {"deployment": deployment, "role": profile},
        "iam:CreateInstanceProfile",
    )
    template = {"deployment": deployment, "definition": _template(deployment, machines, profile)}
    yield Resource(LaunchTemplate.kind, name, template, "ec2:CreateLaunchTemplate")
    group = {
        "deployment": deployment,
        "template": Output(f"{LaunchTemplate.kind}/{name}", "id"),
        "least": machines.count(least),
        "most": 2 * machines.count(most),
        "subnets": network.of_network("subnets"),
        "protected": True,
    }
    yield Resource(Group.kind, name, group, "autoscaling:CreateAutoScalingGroup")
    provider = {
        "deployment": deployment,
        "cluster": tasks.cluster_name(deployment),
        "definition": {"autoScalingGroupArn": Output(f"{Group.kind}/{name}", "arn"), **_SCALING},
    }
    yield Resource(CapacityProvider.kind, name, provider, "ecs:CreateCapacityProvider")


def existing_capacity(name: str) -> Resource:
    """A capacity provider that the user has: looked up, never made."""
    return Resource(CapacityProvider.kind, name, {}, "ecs:DescribeCapacityProviders")


def trouble(account: Account, deployment: str) -> str:
    """Why a deployment's machines do not start, as AWS says it; empty: nothing is known of that."""
    told = account.first(
        "autoscaling",
        "describe_scaling_activities",
        "Activities",
        AutoScalingGroupName=capacity_name(deployment),
        MaxRecords=1,
    )
    if told is None or told["StatusCode"] not in {"Failed", "Cancelled"}:
        return ""
    return str(told.get("StatusMessage", ""))


def _template(deployment: str, machines: Machines, profile: str) -> dict[str, Any]:
    disk = {
        "VolumeSize": machines.disk,
        "VolumeType": "gp3",
        "Encrypted": True,
        "DeleteOnTermination": True,
    }
    group = Output(f"{network.SecurityGroup.kind}/{network.group_name(deployment, 'copies')}", "id")
    return {
        "ImageId": _IMAGE,
        "InstanceType": machines.size.name,
        "IamInstanceProfile": {"Name": profile},
        "SecurityGroupIds": [group],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": disk}],
        "TagSpecifications": [{"ResourceType": "volume", "Tags": tags(deployment)}],
        "UserData": _USER_DATA.format(cluster=tasks.cluster_name(deployment)),
    }


def encoded(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What a machine starts as, with its script as the calls take it."""
    return {**definition, "UserData": base64.b64encode(definition["UserData"].encode()).decode()}


def _bounds(resource: Resource) -> dict[str, Any]:
    body = resource.body
    return {
        "AutoScalingGroupName": resource.name,
        "LaunchTemplate": {"LaunchTemplateId": body["template"], "Version": "$Latest"},
        "MinSize": body["least"],
        "MaxSize": body["most"],
        "VPCZoneIdentifier": ",".join(body["subnets"]),
        "NewInstancesProtectedFromScaleIn": body["protected"],
    }


def _group(account: Account, name: str) -> Any | None:
    return account.first(
        "autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=[name]
    )


def _provider(account: Account, name: str) -> Any | None:
    told = account.first(
        "ecs", "describe_capacity_providers", "capacityProviders", capacityProviders=[name], include=["TAGS"]
    )
    return None if told is None or told["status"] == "INACTIVE" else told
