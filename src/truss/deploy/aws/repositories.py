"""Elastic Container Registry: where the account keeps images.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from truss.deploy.aws.account import Account, marked, tags
from truss.deploy.aws.permissions import Right
from truss.deploy.kinds import Kinds
from truss.deploy.plan import Resource
from truss.deploy.target import Found, Storage
from truss.oci import Credentials

_ABSENT = "RepositoryNotFoundException"
_NO_POLICY = "RepositoryPolicyNotFoundException"
_READING = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_OURS = ("repository/truss/*",)

PUSHING = (
    "BatchCheckLayerAvailability",
    "BatchGetImage",
    "CompleteLayerUpload",
    "GetDownloadUrlForLayer",
    "InitiateLayerUpload",
    "PutImage",
    "UploadLayerPart",
)
"""What a client of the registry does, with the token that it is given.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
"""

READ_BY_SERVICES = Right("ecr", ("SetRepositoryPolicy",), _OURS)
"""What a target needs besides whose service takes images out of a repository by itself."""


class ImageRepository:
    """A repository of a deployment's own; it goes with the deployment, and all images in it do.

    Args:
        service: The service that the deployment runs on; one of the same name on another keeps its images.
    """

    kind = "ecr:repository"
    rights = (
        Right("ecr", ("GetAuthorizationToken",)),
        Right(
            "ecr",
            (
                "CreateRepository",
                "DeleteRepository",
                "DeleteRepositoryPolicy",
                "DescribeRepositories",
                "GetRepositoryPolicy",
                "ListTagsForResource",
                "TagResource",
                *PUSHING,
            ),
            _OURS,
        ),
    )

    def __init__(self, service: str) -> None:
        self._service = service

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, and say which services take images out of it."""
        body = resource.body
        account.call("ecr", "create_repository", repositoryName=resource.name, tags=tags(body["deployment"]))
        return self.update(account, resource, Found(self.kind, resource.name, {}))

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Say anew which services take images out of it."""
        if readers := resource.body["readers"]:
            text = json.dumps({"Version": "2012-10-17", "Statement": [reading(readers)]})
            account.call("ecr", "set_repository_policy", repositoryName=resource.name, policyText=text)
        elif found.body.get("readers"):
            account.gone("ecr", "delete_repository_policy", _ABSENT, _NO_POLICY, repositoryName=resource.name)
        return {}

    def delete(self, account: Account, found: Found) -> None:
        """Remove it with its images."""
        account.gone("ecr", "delete_repository", _ABSENT, repositoryName=found.name, force=True)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, repository_name(self._service, deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = account.first("ecr", "describe_repositories", "repositories", _ABSENT, repositoryNames=[name])
        if told is None:
            return None
        marks = account.call("ecr", "list_tags_for_resource", resourceArn=told["repositoryArn"])["tags"]
        deployment = marked(marks)
        body = {"deployment": deployment, "readers": _readers(account, name)}
        return Found(self.kind, name, body, deployment, kept=True)


class KeepsImages(Kinds[Account]):
    """A platform of an account that has repositories of images beside it."""

    service: str
    """Its service, by which the repositories are named."""

    def storage(self, deployment: str) -> Storage:
        """The repository of a deployment, which need not be there yet.

        https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
        """
        account, name = self.account, repository_name(self.service, deployment)
        region = account.region_name
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        host = f"{account.number}.dkr.ecr.{region}.{suffix}"
        key = image_repository(self.service, deployment).key
        return Storage(key, f"{host}/{name}", f"{account.registry or host}/{name}")

    def login(self) -> Credentials:
        """Who may push there, for twelve hours.

        https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
        """
        told = self.account.call("ecr", "get_authorization_token")["authorizationData"][0]
        user, _, password = base64.b64decode(told["authorizationToken"]).decode().partition(":")
        return Credentials(user, password, source="ECR's GetAuthorizationToken")


def repository_name(service: str, deployment: str) -> str:
    """The name of the repository of a deployment to a service."""
    return f"truss/{service}/{deployment}"


def image_repository(service: str, deployment: str, readers: Sequence[str] = ()) -> Resource:
    """The repository of a deployment.

    Args:
        service: The service that it runs on: `ecs`.
        deployment: The deployment.
        readers: Services that take images out of it by themselves, as `lambda.amazonaws.com`.
    """
    body = {"deployment": deployment, "readers": list(readers)}
    name = repository_name(service, deployment)
    return Resource(ImageRepository.kind, name, body, "ecr:CreateRepository")


def reading(services: Sequence[str]) -> dict[str, Any]:
    """What lets services take images out of a repository."""
    return {"Effect": "Allow", "Principal": {"Service": services}, "Action": list(_READING)}


def storage_notes(service: str, deployment: str, repository: str) -> Iterator[str]:
    """What a plan says of where its images are; nothing where the user says that.

    https://aws.amazon.com/ecr/pricing/
    """
    if not repository:
        name = repository_name(service, deployment)
        yield (
            f"its images are kept in the repository {name} of ECR, $0.10 a GB and "
            "month (list price of 2025-11), and go with the deployment"
        )


def _readers(account: Account, name: str) -> list[str]:
    text = account.get("ecr", "get_repository_policy", "policyText", _NO_POLICY, repositoryName=name)
    found: list[str] = []
    for statement in json.loads(text)["Statement"] if text else ():
        services = statement["Principal"]["Service"]
        found += [services] if isinstance(services, str) else services
    return found
