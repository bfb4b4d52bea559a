"""Baseten: the platform builds the folder of the Truss, and runs it on machines of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

from truss.deploy.baseten import workspace
from truss.deploy.baseten.api import api_of
from truss.deploy.baseten.folder import config_of
from truss.deploy.plan import File, Plan, Resource
from truss.deploy.release import Release
from truss.deploy.target import Feature, Options, option
from truss.deploy.yaml_text import yaml_text
from truss.errors import PlanError


class BasetenOptions(Options, frozen=True, kw_only=True):
    """What a deployment to Baseten can be told."""

    environment: Annotated[str, option("The environment of the model that it is promoted to.")] = "production"


class BasetenTarget:
    """See the module."""

    name = "baseten"
    summary = "Baseten, from the folder of the Truss"
    options = BasetenOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.SCALE_TO_ZERO,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.APPLIES,
        }
    )

    def repository(self, options: BasetenOptions) -> str | None:
        """None: no images go there."""
        del options
        return None

    def archive(self, digest: str, options: BasetenOptions) -> str:
        """A name after the digest: where it lies is the platform's affair."""
        del options
        return f"baseten://{digest}.tgz"

    def plan(self, release: Release, options: BasetenOptions) -> Plan:
        """A model; the workspace has to have the secrets that it names."""
        _check(release)
        config = config_of(release)
        body = {"archive": release.image, "environment": options.environment, "config": config}
        model = Resource(workspace.MODEL, release.name, body, "POST /v1/models")
        secrets = tuple(Resource(workspace.SECRET, name, {}, "GET /v1/secrets") for name in release.secrets)
        return Plan(
            self.name,
            release.name,
            (model,),
            (File("config.yaml", yaml_text(config)),),
            tuple(_notes(release, options)),
            existing=secrets,
        )

    def connect(self, options: BasetenOptions) -> workspace.Workspace:
        """The workspace of the API key."""
        return workspace.Workspace(api_of(os.environ), options.environment)


def _check(release: Release) -> None:
    gpus = release.accelerator
    if gpus is not None and not gpus.kind:
        raise PlanError(
            "Baseten has to know which GPU", where="resources.accelerator", hint="for example L4, or H100:2"
        )
    if release.config.external_package_dirs:
        raise PlanError(
            "folders of packages outside of the Truss do not go with it",
            where="external_package_dirs",
            hint=f"copy them into {release.config.bundled_packages_dir}/",
        )


def _notes(release: Release, options: BasetenOptions) -> Iterator[str]:
    yield f"answers at /environments/{options.environment}/predict of the model's own host, to API keys only"
    gpus = release.accelerator
    machine = "the smallest instance type with what the config's resources ask for"
    yield f"{machine}: {gpus.count} GPU {gpus.kind}" if gpus is not None else machine
    yield "the platform's own server runs the model: routes, batches and limits are that server's"
    if release.secrets:
        names = ", ".join(release.secrets)
        yield f"secrets are the workspace's, which all its models share: {names} has to be there before"
