"""What the place where a server runs asks of it: cloud platforms by their variables, anything by arguments.

What each platform documents is in docs/guides/protocols.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from truss.config import Timeouts
from truss.errors import ServerStartError, TrussError
from truss.runtime.stopping import Ending

DEFAULT_PORT = 8080

PORT_VARIABLES = (
    "PORT",
    "AIP_HTTP_PORT",
    "AWS_LWA_PORT",
    "SAGEMAKER_BIND_TO_PORT",
    "CONTAINER_APP_PORT",
    "WEBSITES_PORT",
)
"""Who says the port how: Cloud Run, Knative and most others; Vertex AI; Lambda Web Adapter; SageMaker;
Azure's two. The first that is set counts."""

GRACE_VARIABLE = "TRUSS_GRACE_SECONDS"

_GRACE_BY_VARIABLE = {"FLY_APP_NAME": 5.0, "K_SERVICE": 10.0}
"""Variable that a platform sets -> seconds from its signal to the kill: Fly.io's default; Cloud Run's."""

_RESERVE_SECONDS = 2.0
"""Of that time, what is kept for noticing and for ending."""

_PORT_ARGUMENTS = ("--port", "--http_port")
_NAME_ARGUMENT = "--model_name"
_GRPC_ARGUMENT = "--grpc_port"
GRPC_VARIABLE = "TRUSS_GRPC_PORT"
_NAME_VARIABLE = "TRUSS_MODEL_NAME"
_MULTI_MODEL_VARIABLE = "SAGEMAKER_MULTI_MODEL"
"""What SageMaker sets to `true` in the containers of a multi-model endpoint."""


@dataclass(frozen=True)
class Platform:
    """What is asked.

    Attributes:
        port: The port to listen on.
        most_grace: The most seconds that the end may take after the signal to stop.
        listen_when_ready: Whether to take no connection before the model is loaded: where the platform
            knows no other sign of readiness.
        model_name: A name for the model in paths, besides the config's.
        grpc_port: The port for gRPC, in place of the config's.
        on_load_failure: Told why the model cannot be loaded, where that is to end the server whatever the
            config says.
        multi_model: Whether models come and go while the server runs, and the image's own is not served.
        balanced: Whether others share requests out to it, who notice after a while that it ends.
    """

    port: int = DEFAULT_PORT
    most_grace: float | None = None
    listen_when_ready: bool = False
    model_name: str | None = None
    grpc_port: int | None = None
    on_load_failure: Callable[[TrussError], None] | None = None
    multi_model: bool = False
    balanced: bool = True

    def ending(self, configured: Timeouts) -> Ending:
        """The time that stopping takes: as configured, or less where the platform kills before.

        New connections are taken for half of it at most, so that the last ones have time to be answered; none
        are where nobody has to notice the end.
        """
        grace = configured.grace if self.most_grace is None else min(configured.grace, self.most_grace)
        return Ending(grace, min(configured.notice, grace / 2) if self.balanced else 0.0)


PLAIN = Platform()


def platform_of(arguments: Sequence[str], variables: Mapping[str, str]) -> Platform:
    """What the arguments of a container and its environment ask.

    Args:
        arguments: Nothing, or `serve`, which SageMaker adds; then `--port` (or KServe's `--http_port`),
            `--grpc_port` and `--model_name`, each with its value behind it or behind `=`.
        variables: The environment.

    Raises:
        ServerStartError: something else, or a value that cannot be.
    """
    options = _options(arguments)
    port = next(
        (
            _port_number(name, text)
            for name, text in [
                *((name, options.get(name)) for name in _PORT_ARGUMENTS),
                *((name, variables.get(name)) for name in PORT_VARIABLES),
            ]
            if text
        ),
        DEFAULT_PORT,
    )
    return Platform(
        port,
        _grace(variables),
        "K_SERVICE" in variables,
        options.get(_NAME_ARGUMENT) or variables.get(_NAME_VARIABLE) or None,
        _grpc_port(options, variables),
        multi_model=variables.get(_MULTI_MODEL_VARIABLE, "").lower() == "true",
    )


def _options(arguments: Sequence[str]) -> dict[str, str]:
    rest = list(arguments)
    if rest[:1] == ["serve"]:
        rest = rest[1:]
    options: dict[str, str] = {}
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in (*_PORT_ARGUMENTS, _NAME_ARGUMENT, _GRPC_ARGUMENT) or not (equals or rest):
            raise ServerStartError(
                f"this image takes no arguments but `serve`, --port and --model_name, not {name!r}",
                hint="configure it with config.yaml and environment variables",
            )
        options[name] = value if equals else rest.pop(0)
    return options


def _port_number(name: str, text: str) -> int:
    if text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise ServerStartError(f"{name} is {text!r}", where=name, hint="set it to a port number from 1 to 65535")


def _grpc_port(options: Mapping[str, str], variables: Mapping[str, str]) -> int | None:
    for name, text in (
        (_GRPC_ARGUMENT, options.get(_GRPC_ARGUMENT)),
        (GRPC_VARIABLE, variables.get(GRPC_VARIABLE)),
    ):
        if text:
            return _port_number(name, text)
    return None


def _grace(variables: Mapping[str, str]) -> float | None:
    text = variables.get(GRACE_VARIABLE)
    if text:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            raise ServerStartError(
                f"{GRACE_VARIABLE} is {text!r}", where=GRACE_VARIABLE, hint="set it to a number of seconds"
            )
        return max(0.0, seconds - _RESERVE_SECONDS)
    known = [seconds for name, seconds in _GRACE_BY_VARIABLE.items() if name in variables]
    return min(known) - _RESERVE_SECONDS if known else None
