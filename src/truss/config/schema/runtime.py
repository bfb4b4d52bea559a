"""`runtime`: how the server runs the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from truss.config.schema.section import (
    DOMAIN,
    IPV4_NETWORK,
    NOT_NEGATIVE,
    POSITIVE,
    SECONDS,
    SIZE,
    Complaint,
    Section,
    doc,
)


class Batching(Section, frozen=True, kw_only=True):
    """`runtime.batching`."""

    mode: Annotated[
        Literal["none", "rows", "requests"],
        doc(
            "How requests that wait together are joined: `none`; `rows` joins the lists in `inputs` of "
            "requests that are otherwise equal; `requests` calls the model's `predict_batch` with a list.",
            "truss",
        ),
    ] = "none"
    max_rows: Annotated[Annotated[int, POSITIVE], doc("The most rows in one call of `predict`.", "truss")] = (
        1024
    )
    max_requests: Annotated[Annotated[int, POSITIVE], doc("The most requests in one batch.", "truss")] = 128
    max_bytes: Annotated[
        Annotated[str, SIZE], doc("The most bytes of request bodies in one batch.", "truss")
    ] = "16Mi"


class Queue(Section, frozen=True, kw_only=True):
    """`runtime.queue`."""

    max_requests: Annotated[
        Annotated[int, POSITIVE],
        doc("How many requests may wait; the next one is answered 429 with `Retry-After`.", "truss"),
    ] = 2048


class Timeouts(Section, frozen=True, kw_only=True):
    """`runtime.timeouts`, in seconds."""

    request: Annotated[
        Annotated[float, SECONDS] | None,
        doc("How long a request may take, waiting included; null: as long as it takes.", "truss"),
    ] = None
    load: Annotated[
        Annotated[float, SECONDS] | None,
        doc("How long loading the model may take; null: as long as it takes.", "truss"),
    ] = None
    grace: Annotated[
        Annotated[float, NOT_NEGATIVE],
        doc("How long a server that was told to stop finishes what it has begun.", "truss"),
    ] = 30.0
    notice: Annotated[
        Annotated[float, NOT_NEGATIVE],
        doc(
            "Of that, how long new connections are still taken after SIGTERM, for load balancers to notice "
            "that readiness fails; half of `grace` at most.",
            "truss",
        ),
    ] = 2.0


class Logging(Section, frozen=True, kw_only=True):
    """`runtime.logging`."""

    format: Annotated[
        Literal["human", "json"],
        doc("Lines for people, or one JSON object per line. `TRUSS_LOG_FORMAT` goes before it.", "truss"),
    ] = "human"
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        doc("The least severe lines that are written. `TRUSS_LOG_LEVEL` goes before it.", "truss"),
    ] = "info"
    access: Annotated[bool, doc("Whether each answered request is a line of the log.", "truss")] = False


class Authentication(Section, frozen=True, kw_only=True):
    """`runtime.authentication`."""

    api_keys_secret: Annotated[
        str | None,
        doc(
            "The secret that holds the API keys, one a line; clients have to send one of them. "
            "Health routes stay open. null: everybody may ask.",
            "truss",
        ),
    ] = None


class Grpc(Section, frozen=True, kw_only=True):
    """`runtime.grpc`."""

    port: Annotated[
        int | None,
        doc(
            "The port for the Open Inference Protocol over gRPC; 0 picks a free one, null: no gRPC. "
            "It is on the port of HTTP too. In a container, `TRUSS_GRPC_PORT` goes before it.",
            "truss",
        ),
    ] = None


class Tracing(Section, frozen=True, kw_only=True):
    """`runtime.tracing`."""

    endpoint: Annotated[
        str | None,
        doc(
            "The OpenTelemetry collector that spans are sent to (OTLP over HTTP), for example "
            "`http://collector:4318`. null: the one that `OTEL_EXPORTER_OTLP_ENDPOINT` names, if it is set.",
            "truss",
        ),
    ] = None


class Transport(Section, frozen=True, kw_only=True):
    """`runtime.transport`."""

    kind: Annotated[Literal["http", "websocket", "grpc"], doc("What clients speak.")] = "http"
    ping_interval_seconds: Annotated[float | None, doc("Seconds between the pings of a websocket.")] = None
    ping_timeout_seconds: Annotated[
        float | None, doc("Seconds after which an unanswered ping ends a websocket.")
    ] = None


class HealthChecks(Section, frozen=True, kw_only=True):
    """`runtime.health_checks`, in seconds; null leaves the choice to the platform."""

    restart_check_delay_seconds: Annotated[
        int | None, doc("How long to wait before checking whether a restart is needed.")
    ] = None
    restart_threshold_seconds: Annotated[
        int | None, doc("How long an instance may be unhealthy before it is restarted.")
    ] = None
    stop_traffic_threshold_seconds: Annotated[
        int | None, doc("How long an instance may be unhealthy before it gets no more requests.")
    ] = None
    startup_threshold_seconds: Annotated[
        int | None, doc("How long an instance may take to start before it counts as unhealthy.")
    ] = None


class Oidc(Section, frozen=True, kw_only=True):
    """`runtime.oidc`."""

    enabled: Annotated[
        bool | None, doc("Whether an OIDC token is mounted for the model; null: as the platform does it.")
    ] = None


class RemoteSsh(Section, frozen=True, kw_only=True):
    """`runtime.remote_ssh`."""

    enabled: Annotated[bool, doc("Whether running instances can be entered over SSH.")] = False


class EgressRestrictions(Section, frozen=True, kw_only=True):
    """`runtime.egress_restrictions`: with both lists empty, nothing may be reached."""

    ip_allow_list: Annotated[
        list[Annotated[str, IPV4_NETWORK]] | None, doc("IPv4 addresses and ranges that may be reached.")
    ] = None
    fqdn_allow_list: Annotated[
        list[Annotated[str, DOMAIN]] | None,
        doc("Domain names that may be reached; `*` may stand in a label."),
    ] = None


class Runtime(Section, frozen=True, kw_only=True):
    """`runtime`."""

    workers: Annotated[
        Annotated[int, POSITIVE] | None,
        doc("Copies of the model, each in a process of its own; null: one per GPU, else 1.", "truss"),
    ] = None
    predict_concurrency: Annotated[
        Annotated[int, POSITIVE], doc("For async models: how many calls each copy has in flight.")
    ] = 1
    batching: Annotated[Batching, doc("How requests are joined.", "truss")] = msgspec.field(
        default_factory=Batching
    )
    queue: Annotated[Queue, doc("Where requests wait.", "truss")] = msgspec.field(default_factory=Queue)
    timeouts: Annotated[Timeouts, doc("Time limits, in seconds.", "truss")] = msgspec.field(
        default_factory=Timeouts
    )
    max_body: Annotated[
        Annotated[str, SIZE], doc("The largest request body; more is answered 413.", "truss")
    ] = "100Mi"
    memory_limit: Annotated[
        Annotated[str, SIZE] | None,
        doc("The most memory that each copy may hold itself, apart from what copies share.", "truss"),
    ] = None
    idempotent: Annotated[
        bool,
        doc("Whether a request may run twice: one whose worker died is then tried once more.", "truss"),
    ] = False
    exit_on_load_failure: Annotated[
        bool, doc("Whether the server ends when the model cannot be loaded.", "truss")
    ] = False
    replay_examples: Annotated[
        bool, doc("Whether the examples have to give their expected answers before it is ready.", "truss")
    ] = False
    debug: Annotated[bool, doc("Whether error answers carry tracebacks.", "truss")] = False
    logging: Annotated[Logging, doc("What the log looks like.", "truss")] = msgspec.field(
        default_factory=Logging
    )
    authentication: Annotated[Authentication, doc("Who may ask.", "truss")] = msgspec.field(
        default_factory=Authentication
    )
    grpc: Annotated[Grpc, doc("Where gRPC is served.", "truss")] = msgspec.field(default_factory=Grpc)
    tracing: Annotated[Tracing, doc("Where traces go.", "truss")] = msgspec.field(default_factory=Tracing)
    streaming_read_timeout: Annotated[
        int, doc("Seconds that a streaming model may take for its next chunk.")
    ] = 60
    enable_tracing_data: Annotated[bool, doc("Whether traces are exported (OpenTelemetry).")] = False
    enable_debug_logs: Annotated[bool, doc("Whether the server logs at level DEBUG.")] = False
    transport: Annotated[Transport, doc("The protocol of the model's endpoint.")] = msgspec.field(
        default_factory=Transport
    )
    is_websocket_endpoint: Annotated[
        bool | None, doc("Superseded by `transport.kind: websocket`, which it means when true.")
    ] = None
    health_checks: Annotated[HealthChecks, doc("When a platform restarts an instance.")] = msgspec.field(
        default_factory=HealthChecks
    )
    oidc: Annotated[Oidc, doc("Workload identity of the running model.")] = msgspec.field(
        default_factory=Oidc
    )
    remote_ssh: Annotated[RemoteSsh, doc("SSH into running instances.")] = msgspec.field(
        default_factory=RemoteSsh
    )
    egress_restrictions: Annotated[
        EgressRestrictions | None, doc("What the model may reach on the network; null: everything.")
    ] = None
    truss_server_version_override: Annotated[
        str | None, doc("The version of the server to build into the image; null: the one that builds it.")
    ] = None

    def __post_init__(self) -> None:
        """Keep the superseded `is_websocket_endpoint` and `transport.kind` in agreement."""
        if self.is_websocket_endpoint and self.transport.kind == "http":
            transport = msgspec.structs.replace(self.transport, kind="websocket")
            msgspec.structs.force_setattr(self, "transport", transport)
        if self.transport.kind == "websocket" and not self.is_websocket_endpoint:
            msgspec.structs.force_setattr(self, "is_websocket_endpoint", True)

    def complaints(self) -> Iterator[Complaint]:
        """`truss_server_version_override` has to be a version."""
        version = self.truss_server_version_override
        if version is not None and not version.lstrip("v")[:1].isdigit():
            yield Complaint(
                "truss_server_version_override", f"{version!r} is not a version", "for example 0.9.0"
            )
