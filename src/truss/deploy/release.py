"""What is to be deployed: the facts of a Truss that every target plans from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from truss.config import (
    Accelerator,
    TrussConfig,
    parse_accelerator,
    parse_size,
    secret_variable,
    stored_secret_variable,
)
from truss.errors import DeployError, PlanError

PORT = 8080
"""Where the server listens in a container unless the platform says otherwise."""

LIVE = "/livez"
READY = "/readyz"
PREDICT = "/v1/models/model:predict"

LONGEST_NAME = 40
"""Characters of a deployment's name: platforms append to it, and the shortest takes 63."""

_OWN_END = 5
"""Seconds for a place to stop sending requests to a copy, and for its processes to end after the last one."""

_NAME = re.compile(rf"[a-z](?:[a-z0-9-]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?")


@dataclass(frozen=True)
class Release:
    """A Truss as it is to be deployed.

    Attributes:
        name: The name of the deployment: lower-case letters, digits and dashes.
        image: The image that is to run: `registry/repository@sha256:...`, or with a tag.
        config: The config of the Truss.
    """

    name: str
    image: str
    config: TrussConfig

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def cpu(self) -> float:
        """CPU cores that one copy asks for."""
        text = self.config.resources.cpu
        return float(Fraction(text.removesuffix("m")) / (1000 if text.endswith("m") else 1))

    @property
    def memory(self) -> int:
        """Main memory that one copy asks for, in bytes."""
        return parse_size(self.config.resources.memory)

    @property
    def accelerator(self) -> Accelerator | None:
        """The GPUs that one copy asks for; None: no GPU."""
        resources = self.config.resources
        if not resources.use_gpu:
            return None
        return parse_accelerator(resources.accelerator) if resources.accelerator else Accelerator("")

    @property
    def environment(self) -> dict[str, str]:
        """The environment that the config gives the model."""
        return dict(self.config.environment_variables)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that the model may read."""
        return tuple(sorted(self.config.secrets))

    @property
    def secret_variables(self) -> dict[str, str]:
        """The names of the variables that a copy reads its secrets from -> the secrets' names.

        Some platforms take nothing but letters, digits and `_` there.

        Raises:
            PlanError: two secrets would be the same variable.
        """
        variables = {secret_variable(name): name for name in self.secrets}
        if len(variables) < len(self.secrets):
            lost = sorted(set(self.secrets) - set(variables.values()))
            raise PlanError(
                f"the secret '{lost[0]}' and another would be the same variable, {secret_variable(lost[0])}",
                where="secrets",
                hint="rename one of them in config.yaml, so that they differ in letters or digits",
            )
        return variables

    @property
    def stored_variables(self) -> dict[str, str]:
        """The variables that say where a platform's store keeps secrets -> the secrets' names.

        Raises:
            As `secret_variables`.
        """
        return {stored_secret_variable(name): name for name in self.secret_variables.values()}

    @property
    def grace(self) -> float:
        """Seconds that the server may take to answer what it has accepted, when it is to stop."""
        return self.config.runtime.timeouts.grace

    @property
    def stop_seconds(self) -> int:
        """Seconds after the signal to stop when a copy that goes on is ended: the grace, and its own end."""
        return ceil(self.grace) + _OWN_END


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a deployment.

    Raises:
        DeployError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise DeployError(
            f"{name!r} cannot be the name of a deployment",
            where="--name",
            hint=f"write up to {LONGEST_NAME} lower-case letters, digits and dashes, a letter first",
        )


def name_of(text: str) -> str:
    """The name of a deployment after a model's name or a folder's.

    Raises:
        DeployError: nothing in the text can be part of a name.
    """
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    found = re.sub(r"^[0-9-]+", "", found)[:LONGEST_NAME].rstrip("-")
    if not found:
        raise DeployError(f"no deployment can be named after {text!r}", hint="give it a name with --name")
    return found
