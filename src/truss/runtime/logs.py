"""The log: lines for people or JSON, with the requests they are about, and without secrets.

Every process of the server writes to the same stderr. Lines that are written while a request runs, the
model's own among them, carry its id, and the id of its trace if it is traced.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from time import monotonic

from truss.config import TrussConfig
from truss.errors import TrussError
from truss.model.secrets import Secrets
from truss.runtime import context

_SHORTEST = 4
"""Values of secrets that are shorter are words that stand in ordinary lines."""

_SECONDS = 10.0
"""How long the values of secrets are kept before they are looked up again."""

_PLAIN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
"""What every log record has; the rest came with `extra`."""


def set_up(config: TrussConfig, variables: Mapping[str, str] = os.environ) -> None:
    """Write this process's log as the config says it.

    Args:
        config: `runtime.logging`, and the secrets whose values are left out.
        variables: `TRUSS_LOG_FORMAT` and `TRUSS_LOG_LEVEL` go before the config.
    """
    settings = config.runtime.logging
    configured = "debug" if config.runtime.enable_debug_logs else settings.level
    level = variables.get("TRUSS_LOG_LEVEL", configured)
    as_json = variables.get("TRUSS_LOG_FORMAT", settings.format) == "json"
    hide = Redaction(Secrets(config.secrets))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(hide) if as_json else HumanLines(hide))
    logging.basicConfig(level=_level(level), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _level(name: str) -> int:
    found = logging.getLevelName(name.upper())
    return found if isinstance(found, int) else logging.INFO


def note_access(route: str, status: int, seconds: float | None, request_id: bytes) -> None:
    """Write the line of an answered request. Neither headers nor bodies are in it."""
    took = "" if seconds is None else f" {seconds * 1e3:.1f} ms"
    facts = {"route": route, "status": status, "request_id": request_id.decode("latin-1")}
    extra = facts if seconds is None else {**facts, "seconds": round(seconds, 6)}
    logging.getLogger("truss.access").info("%s %d%s", route, status, took, extra=extra)


class Redaction:
    """Takes the values of secrets out of text.

    Args:
        secrets: The secrets that the Truss declares.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._values: dict[str, str] = {}
        self._looked_up = float("-inf")

    def __call__(self, text: str) -> str:
        """The text with `[secret NAME]` in place of each value; values that were replaced stay known."""
        if self._secrets and monotonic() - self._looked_up > _SECONDS:
            self._looked_up = monotonic()
            self._values.update((value, name) for name, value in self._found() if len(value) >= _SHORTEST)
        for value, name in self._values.items():
            if value in text:
                text = text.replace(value, f"[secret {name}]")
        return text

    def _found(self) -> Iterable[tuple[str, str]]:
        for name in self._secrets:
            try:
                value = self._secrets[name]
            except TrussError:
                continue
            # A secret of several lines, or keys, may be written one by one.
            yield from ((name, part) for part in {value or "", *(value or "").split()})


class HumanLines(logging.Formatter):
    """Time, level, logger, the requests at hand, and the message.

    Args:
        hide: Takes out what nobody may read.
    """

    def __init__(self, hide: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(requests)s %(message)s")
        self._hide = hide

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback makes it several."""
        ids, traces = _requests(record), context.trace_ids()
        text = ",".join(ids) + (f" trace={','.join(traces)}" if traces else "")
        record.requests = f" [{text}]" if ids else ""
        return self._hide(super().format(record))


class JsonLines(logging.Formatter):
    """One object a line: `time`, `level`, `logger`, `message`; `request_id`, or `request_ids` of a batch;
    `trace_id`; `exception`; and what was given as `extra`.

    Args:
        hide: Takes out what nobody may read.
    """  # noqa: D205  # the keys are the summary

    def __init__(self, hide: Callable[[str], str]) -> None:
        super().__init__()
        self._hide = hide

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._hide(record.getMessage()),
            **_named("request_id", _requests(record)),
            **_named("trace_id", context.trace_ids()),
            "pid": record.process,
        }
        if record.exc_info:
            line["exception"] = self._hide(self.formatException(record.exc_info))
        more = {key: value for key, value in vars(record).items() if key not in _PLAIN}
        more.pop("request_id", None)
        text = json.dumps({**more, **line}, default=str, ensure_ascii=False)
        return self._hide(text) if more else text


def _requests(record: logging.LogRecord) -> list[str]:
    """The ids of the requests that a line is about: what `extra` says, else those that run here."""
    named = getattr(record, "request_id", None)
    return [str(named)] if named is not None else list(context.request_ids())


def _named(name: str, values: Iterable[str]) -> dict[str, object]:
    several = list(values)
    if len(several) > 1:
        return {f"{name}s": several}
    return {name: several[0]} if several else {}
