"""Which paths take requests for the model, and as what: our own, those of other protocols, and platforms'.

A platform that chooses its paths says so in its environment; all others are always there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from truss.config import Signature, TrussConfig
from truss.runtime.frames import Codec
from truss.runtime.predictions import MODEL_NAME, Request
from truss.runtime.protocols import envelope
from truss.runtime.protocols.open_inference import VERSION

PREDICT_PATHS = ("/predict", "/invocations", "/score", "/events", "/")
"""Beside `/v1/models/NAME:predict`: plain; SageMaker; Azure ML; the Lambda adapter's events; Hugging Face."""

OPENAI_PATHS = {
    "/v1/chat/completions": Codec.CHAT,
    "/v1/completions": Codec.COMPLETIONS,
    "/v1/embeddings": Codec.EMBEDDINGS,
}

READY_PATHS = ("/readyz", "/ping", "/health", "/v2/health/ready")
LIVE_PATHS = ("/", "/livez", "/healthz", "/v2/health/live")


@dataclass(frozen=True)
class Service:
    """What this server calls its model, and where a platform wants to find it.

    Attributes:
        names: The model's names in paths.
        signature: What it takes, if that is known.
        health_path: Vertex AI's path for readiness, if it chose one.
        predict_path: Its path for requests.
    """

    names: tuple[str, ...] = (MODEL_NAME,)
    signature: Signature | None = None
    health_path: str | None = None
    predict_path: str | None = None

    @classmethod
    def of(cls, config: TrussConfig, variables: Mapping[str, str], given_name: str | None = None) -> Service:
        """The service of a Truss in an environment; its model may be given a name besides the config's."""
        named = [(name or "").strip() for name in (config.model_name, given_name)]
        names = dict.fromkeys([MODEL_NAME, *[name for name in named if name and "/" not in name]])
        return cls(
            tuple(names),
            config.signature,
            _path(variables.get("AIP_HEALTH_ROUTE")),
            _path(variables.get("AIP_PREDICT_ROUTE")),
        )

    def model_paths(self, prefix: str) -> list[tuple[str, str]]:
        """Each path of the model below a prefix, and the name in it."""
        return [(f"{prefix}/{name}", name) for name in self.names]

    def versioned_paths(self) -> list[tuple[str, str]]:
        """As `model_paths` below `/v2/models`, each also with the version."""
        plain = self.model_paths("/v2/models")
        return plain + [(f"{path}/versions/{VERSION}", name) for path, name in plain]


def _path(value: str | None) -> str | None:
    return f"/{value.strip().strip('/')}" if value and value.strip() else None


@dataclass(slots=True)
class ProtocolRequest(Request):
    """A request of another protocol: its route says what its body is, not its content type.

    Attributes:
        model: The name in its path.
    """

    model: str = MODEL_NAME

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """As `Request.read`; of the Open Inference Protocol also where the JSON ends."""
        codec, headers = self.codec, list(headers)
        Request.read(self, headers)
        self.codec = codec
        if codec == Codec.OPEN_INFERENCE:
            said = dict(headers).get(b"inference-header-content-length", b"")
            number = said.isdigit() and len(said) < 19
            json_size = None if not said else int(said) if number else envelope.NO_SIZE
            self.envelope = envelope.seal(self.model, json_size)


Maker = Callable[[bytes], Request]


def predict_routes(service: Service) -> dict[str, Maker]:
    """Path -> what makes a request of a POST there, given its id."""
    plain = functools.partial(Request, codec=Codec.JSON)
    paths: Sequence[str] = [
        *[f"{path}:predict" for path, _ in service.model_paths("/v1/models")],
        *PREDICT_PATHS,
        *([service.predict_path] if service.predict_path else []),
    ]
    return {
        **dict.fromkeys(paths, plain),
        **{
            f"{path}:predict_binary": functools.partial(Request, codec=Codec.MSGPACK)
            for path, _ in service.model_paths("/v1/models")
        },
        **{path: functools.partial(ProtocolRequest, codec=codec) for path, codec in OPENAI_PATHS.items()},
        **{
            f"{path}/infer": functools.partial(ProtocolRequest, codec=Codec.OPEN_INFERENCE, model=name)
            for path, name in service.versioned_paths()
        },
    }
