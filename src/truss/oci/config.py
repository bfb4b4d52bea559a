"""The config of an image: how a container of it starts, what its layers hold, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from truss.errors import BrokenImageError
from truss.oci.descriptor import Platform, canonical_json, json_object
from truss.oci.digest import Digest

EPOCH = "1970-01-01T00:00:00Z"
"""When images were made that shall not differ by when they were made."""

_KNOWN = {"Env", "Entrypoint", "Cmd", "WorkingDir", "User", "ExposedPorts", "StopSignal", "Labels"}


@dataclass(frozen=True)
class History:
    """One step of how an image came to be.

    Attributes:
        created_by: What was done.
        created: When, as RFC 3339 says it.
        empty: Whether the step left no layer.
        comment: What its maker said.
    """

    created_by: str
    created: str = EPOCH
    empty: bool = False
    comment: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> History:
        """What a config says."""
        return cls(
            str(data.get("created_by", "")),
            str(data.get("created", EPOCH)),
            bool(data.get("empty_layer", False)),
            str(data.get("comment", "")),
        )

    def to_json(self) -> dict[str, Any]:
        """As configs have it; what is empty is left out."""
        data: dict[str, Any] = {"created": self.created, "created_by": self.created_by}
        if self.empty:
            data["empty_layer"] = True
        if self.comment:
            data["comment"] = self.comment
        return data


@dataclass(frozen=True)
class ImageConfig:
    """How a container of an image starts, and what its layers hold.

    Attributes:
        platform: What it runs on.
        env: Environment variables, in the order in which they are set.
        entrypoint: The program and its first arguments; empty for none.
        cmd: The arguments that a user may replace.
        working_dir: Where the program starts; empty for the root.
        user: As whom, `user[:group]`, names or numbers; empty for root.
        ports: What it listens on, e.g. `8080/tcp`.
        labels: Names and texts for whom they concern.
        stop_signal: What asks it to stop, e.g. `SIGTERM`; empty for the engine's default.
        created: When it was made, as RFC 3339 says it.
        diff_ids: The digests of its layers' archives before compression, the lowest first.
        history: How it came to be.
        others: Settings of a base that have no attribute here, kept as they are, e.g. `Healthcheck`.
    """

    platform: Platform
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: str = ""
    created: str = EPOCH
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, data: bytes) -> ImageConfig:
        """Read a config.

        Raises:
            BrokenImageError: It is none.
        """
        document = json_object(data, "the config of an image")
        try:
            return _config(document)
        except (AttributeError, TypeError, ValueError) as error:
            raise BrokenImageError(f"the config of an image cannot be read: {error}") from error

    def to_bytes(self) -> bytes:
        """The one form that this config has as JSON."""
        return canonical_json(
            {
                **self.platform.to_json(),
                "created": self.created,
                "config": _settings(self),
                "rootfs": {"type": "layers", "diff_ids": [str(one) for one in self.diff_ids]},
                "history": [one.to_json() for one in self.history],
            }
        )


def _settings(config: ImageConfig) -> dict[str, Any]:
    known = {
        "Env": [f"{name}={value}" for name, value in config.env.items()],
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "WorkingDir": config.working_dir,
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.ports},
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
    }
    return {**config.others, **{key: value for key, value in known.items() if value}}


def _config(document: dict[str, Any]) -> ImageConfig:
    settings: dict[str, Any] = document.get("config") or {}
    return ImageConfig(
        platform=Platform.from_json(document),
        env=dict(_variable(text) for text in settings.get("Env") or ()),
        entrypoint=tuple(settings.get("Entrypoint") or ()),
        cmd=tuple(settings.get("Cmd") or ()),
        working_dir=str(settings.get("WorkingDir") or ""),
        user=str(settings.get("User") or ""),
        ports=tuple(sorted(settings.get("ExposedPorts") or ())),
        labels=dict(settings.get("Labels") or {}),
        stop_signal=str(settings.get("StopSignal") or ""),
        created=str(document.get("created") or EPOCH),
        diff_ids=tuple(Digest.parse(text) for text in (document.get("rootfs") or {}).get("diff_ids") or ()),
        history=tuple(History.from_json(step) for step in document.get("history") or ()),
        others={key: value for key, value in settings.items() if key not in _KNOWN},
    )


def _variable(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
