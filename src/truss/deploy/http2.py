"""Requests in HTTP/2, for gRPC, on platforms that reach one port of a copy and are told what it speaks.

The server takes both versions on that port: gRPC's in HTTP/2, and its routes of HTTP in HTTP/1.1. A port that
is called `h2c` gets whatever anybody sends in HTTP/2, so that those routes answer nobody:
https://cloud.google.com/run/docs/configuring/http2, and as Knative's gateways have it,
https://github.com/knative-extensions/net-kourier (`pkg/generator/ingress_translator.go`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from truss.deploy.plan import Plan
from truss.deploy.release import Release
from truss.deploy.target import Feature, Target, option
from truss.errors import PlanError

Http2 = Annotated[
    bool,
    option("Whether all requests come to the copies in HTTP/2, for gRPC; HTTP's routes then answer nobody."),
]
"""The option of a target."""


def port_name(wanted: bool) -> str:
    """What the port is called."""
    return "h2c" if wanted else "http1"


def check(release: Release, wanted: bool, target: str) -> None:
    """Refuse HTTP/2 for a server without gRPC, which would answer nobody.

    Raises:
        PlanError: it is so.
    """
    if wanted and release.config.runtime.grpc.port is None:
        raise PlanError(
            "nothing of the model's would answer: it has no gRPC, and HTTP's routes are in HTTP/1.1",
            where=f"deploy.{target}.http2",
            hint="leave --http2 out, or set runtime.grpc.port in config.yaml",
        )


def notes(release: Release, wanted: bool, without: str) -> Iterator[str]:
    """What becomes of gRPC, and of HTTP.

    Args:
        release: The release.
        wanted: Whether all requests come in HTTP/2.
        without: What the platform does with gRPC where they do not.
    """
    if wanted:
        yield (
            "it answers gRPC only, so that its examples are not asked: a deployment without --http2, under "
            "another --name, answers HTTP"
        )
    elif release.config.runtime.grpc.port is not None:
        yield f"{without}; --http2 passes all of gRPC on, and then nothing else"


def tell_of_grpc(plan: Plan, release: Release, target: Target) -> Plan:
    """The plan, which says so where a model has gRPC and the platform passes none on."""
    if release.config.runtime.grpc.port is None or Feature.GRPC in target.features:
        return plan
    note = f"{target.name} passes on no gRPC: clients reach the routes of HTTP only"
    return replace(plan, notes=(*plan.notes, note))
