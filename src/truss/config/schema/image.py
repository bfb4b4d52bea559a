"""`build`, `base_image`, `docker_server`: what the image is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from truss.config import values
from truss.config.schema.section import (
    BUILD_SECRET_NAME,
    OPTIONAL_ABSOLUTE_PATH,
    Complaint,
    Section,
    doc,
    parsed,
)

NON_ROOT_USER = 60000
"""The user id that the original's images run as; a server of one's own may not claim it."""

_METHOD_FIELDS: dict[str, tuple[str, ...]] = {
    "AWS_OIDC": ("aws_oidc_role_arn", "aws_oidc_region"),
    "GCP_OIDC": ("gcp_oidc_service_account", "gcp_oidc_workload_id_provider"),
    "AWS_ASSUME_ROLE": ("aws_assume_role_arn", "aws_assume_role_region"),
}
"""Authentication method -> the keys that only this method takes, and needs."""


class AuthFields(Section, frozen=True, kw_only=True):
    """The keys that every kind of authentication shares."""

    aws_oidc_role_arn: Annotated[str | None, doc("`AWS_OIDC`: the role to take on.")] = None
    aws_oidc_region: Annotated[str | None, doc("`AWS_OIDC`: the region.")] = None
    gcp_oidc_service_account: Annotated[str | None, doc("`GCP_OIDC`: the service account.")] = None
    gcp_oidc_workload_id_provider: Annotated[
        str | None, doc("`GCP_OIDC`: the workload identity provider.")
    ] = None
    aws_assume_role_arn: Annotated[str | None, doc("`AWS_ASSUME_ROLE`: the role to take on.")] = None
    aws_assume_role_region: Annotated[str | None, doc("`AWS_ASSUME_ROLE`: the region.")] = None

    def method_complaints(
        self, method: str, needed: tuple[str, ...], refused: tuple[str, ...]
    ) -> Iterator[Complaint]:
        """Each method needs its own keys and takes none of another's."""
        own = _METHOD_FIELDS.get(method, ())
        for key in (*needed, *own):
            if not getattr(self, key):
                yield Complaint("auth_method", f"{method} needs `{key}`", hint=f"add `{key}` beside it")
        others = [key for keys in _METHOD_FIELDS.values() for key in keys if key not in own]
        for key in (*refused, *others):
            if getattr(self, key):
                yield Complaint(key, f"has no meaning with `auth_method: {method}`", hint="remove it")


DOCKER_AUTH_METHODS = (
    "GCP_SERVICE_ACCOUNT_JSON",
    "AWS_IAM",
    "AWS_OIDC",
    "GCP_OIDC",
    "REGISTRY_SECRET",
    "AWS_ASSUME_ROLE",
)


class DockerAuth(AuthFields, frozen=True, kw_only=True):
    """`base_image.docker_auth`."""

    auth_method: Annotated[
        Annotated[str, parsed(values.upper_case(DOCKER_AUTH_METHODS), enum=list(DOCKER_AUTH_METHODS))],
        doc("How to log in to the registry."),
    ]
    registry: Annotated[str | None, doc("The registry's address.")] = ""
    secret_name: Annotated[str | None, doc("The secret that holds the credentials.")] = None
    aws_access_key_id_secret_name: Annotated[
        str, doc("`AWS_IAM`: the secret that holds the access key's id.")
    ] = "aws_access_key_id"
    aws_secret_access_key_secret_name: Annotated[
        str, doc("`AWS_IAM`: the secret that holds the access key.")
    ] = "aws_secret_access_key"

    def complaints(self) -> Iterator[Complaint]:
        """Each method has keys of its own."""
        if self.auth_method == "GCP_SERVICE_ACCOUNT_JSON":
            yield from self.method_complaints(self.auth_method, ("secret_name",), ())
        elif self.auth_method in _METHOD_FIELDS:
            yield from self.method_complaints(self.auth_method, (), ("secret_name",))


class BaseImage(Section, frozen=True, kw_only=True):
    """`base_image`."""

    image: Annotated[str, doc("The image to build on; empty: the one Truss chooses.")] = ""
    python_executable_path: Annotated[
        Annotated[str, OPTIONAL_ABSOLUTE_PATH],
        doc("Where its Python is, as an absolute path; empty: the `python3` on its PATH."),
    ] = ""
    docker_auth: Annotated[DockerAuth | None, doc("How to log in to the image's registry.")] = None


class Build(Section, frozen=True, kw_only=True):
    """`build`."""

    model_server: Annotated[
        Literal["TrussServer", "TRT_LLM"], doc("The server that is built into the image.")
    ] = "TrussServer"
    arguments: Annotated[dict[str, Any], doc("Arguments for a server other than `TrussServer`.")] = {}
    secret_to_path_mapping: Annotated[
        dict[Annotated[str, BUILD_SECRET_NAME], str],
        doc("Secrets that the build may read: name -> path in the image while it is built."),
    ] = {}
    dockerfile_fragment: Annotated[
        str,
        doc("A file of the Truss with lines for the image's Dockerfile, after `build_commands`.", "truss"),
    ] = ""
    no_cache: Annotated[bool, doc("Only on the command line: a config that sets it to true is refused.")] = (
        False
    )

    def complaints(self) -> Iterator[Complaint]:
        """`no_cache` belongs to one build, not to the Truss."""
        if self.no_cache:
            yield Complaint(
                "no_cache", "cannot be set in config.yaml", hint="remove it, and build with --no-cache"
            )


class DockerServer(Section, frozen=True, kw_only=True):
    """`docker_server`."""

    start_command: Annotated[str | None, doc("The command that starts it; needed unless `no_build`.")] = None
    server_port: Annotated[int, doc("The port it listens on.")]
    predict_endpoint: Annotated[str, doc("The route that answers predictions.")]
    readiness_endpoint: Annotated[str, doc("The route that says whether it takes requests.")]
    liveness_endpoint: Annotated[str, doc("The route that says whether it has to be restarted.")]
    run_as_user_id: Annotated[int | None, doc("The user id it runs as.")] = None
    no_build: Annotated[bool | None, doc("Whether the base image is used exactly as it is.")] = None

    def complaints(self) -> Iterator[Complaint]:
        """It has to start somehow, and as a user that is free."""
        if self.start_command is None and not self.no_build:
            yield Complaint(
                "",
                "needs `start_command`",
                "the command that starts the server",
                "add `start_command`, or `no_build: true` to use the base image as it is",
            )
        if self.run_as_user_id in {0, NON_ROOT_USER}:
            yield Complaint("run_as_user_id", f"cannot be {self.run_as_user_id}", "another user id")
