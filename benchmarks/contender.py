"""A server to measure, as data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.places import PYTHON, VENVS
from benchmarks.workloads import Workload


@dataclass(frozen=True)
class Exchange:
    """How one item is asked for and answered, over HTTP or gRPC.

    Attributes:
        path: The URL's path; over gRPC that of the method.
        encode: The body that carries one item.
        decode: The item's answer, out of the answer's body.
        content_type: The body's.
        checked: Whether answers are compared with the model's; not for an echo of another workload's bodies.
        rpc: Whether it is a call over gRPC; the bodies are then its messages.
        json_size: How much of a body of the Open Inference Protocol is JSON, when it has tensors behind it.
        further_headers: What requests carry besides.
    """

    path: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    content_type: str = "application/json"
    checked: bool = True
    rpc: bool = False
    json_size: int | None = None
    further_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Those of a request."""
        size = {} if self.json_size is None else {"Inference-Header-Content-Length": str(self.json_size)}
        return {"Content-Type": self.content_type, **size, **self.further_headers}


@dataclass(frozen=True)
class Environment:
    """A virtual environment of a peer's own, made on first use.

    Attributes:
        name: Its folder.
        requirements: What is installed.
        script: Makes it instead, when given: arguments of `sh`.
    """

    name: str
    requirements: tuple[str, ...] = ()
    script: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def path(self) -> Path:
        """Its root."""
        return self.folder or VENVS / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"


@dataclass(frozen=True)
class Launch:
    """What a server needs to know to start.

    Attributes:
        workload: What it is to serve.
        port: Where to listen, on loopback.
        workplace: A folder of its own for this run.
        python: The interpreter of its environment.
        free_ports: Ports for whatever else it insists on opening.
    """

    workload: Workload
    port: int
    workplace: Path
    python: Path
    free_ports: tuple[int, ...]


def _nothing(_: Launch) -> None:
    """Most servers need no preparation."""


@dataclass(frozen=True)
class Contender:
    """A server in one configuration.

    Attributes:
        name: What `--only` calls it.
        title: What the report calls it.
        exchanges: How to talk to it, per workload that it takes part in.
        command: What starts it.
        settings: What was configured, for the reader of the results.
        environment: None for the project's own.
        prepare: Writes what it serves, before it starts.
        variables: Added to its environment.
        package: The distribution whose version is reported.
        batched: Whether it joins requests into batches.
        reference: A yardstick rather than a server that one would deploy.
        everywhere: Whether it is measured in `serving` unless others are named.
    """

    name: str
    title: str
    exchanges: Mapping[str, Exchange]
    command: Callable[[Launch], Sequence[str]]
    settings: str
    environment: Environment | None = None
    prepare: Callable[[Launch], None] = _nothing
    variables: Callable[[Launch], Mapping[str, str]] = field(default=lambda _: {})
    package: str | None = None
    batched: bool = False
    reference: bool = False
    everywhere: bool = True

    @property
    def python(self) -> Path:
        """The interpreter that runs it."""
        return self.environment.python if self.environment else PYTHON


def compact(value: Any) -> bytes:
    """JSON without spaces, as an HTTP client sends it."""
    return json.dumps(value, separators=(",", ":")).encode()


def listed(
    path: str,
    asked: str = "inputs",
    answered: str | None = "predictions",
    pick: Callable[[Any], Any] = lambda answer: answer,
) -> Exchange:
    """JSON `{asked: [item]}` answered by `{answered: [answer]}`, or by `[answer]` when `answered` is None."""

    def decode(body: bytes) -> Any:
        answer = json.loads(body)
        return pick((answer if answered is None else answer[answered])[0])

    return Exchange(path, lambda item: compact({asked: [item]}), decode)


def label(answer: Any) -> Any:
    """The class, where an answer holds probabilities as well."""
    return answer["label"] if isinstance(answer, dict) else answer


COMMON_REQUIREMENTS = (
    "joblib",
    "numpy",
    "safetensors",
    "scikit-learn==1.9.1",
    "torch==2.13.0",
    "transformers==5.23.0",
)
"""What the models need, the same everywhere."""
