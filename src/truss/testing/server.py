"""Run the real server over a Truss for the length of a test."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LISTENING = re.compile(r"(?:listening|serving) on (https?://\S+)")


@dataclass(frozen=True)
class Response:
    """An HTTP answer: status, headers (lower-case names) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class RunningServer:
    """A `truss serve` process.

    Attributes:
        process: The front's process.
        url: Where it listens, e.g. `http://127.0.0.1:40123`.
        log: The lines it has written to stderr so far.
    """

    process: subprocess.Popen[str]
    url: str = ""
    log: list[str] = field(default_factory=list)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request on a connection of its own; error statuses are answers too."""
        url = self.url + path
        request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # noqa: S310  # as below
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # our own loopback server
                return Response(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Response(error.code, _lower(error.headers), error.read())

    def predict(self, content: Any, **headers: str) -> Response:
        """POST JSON to the predict route, for JSON; underscores in header names become dashes."""
        named = {
            name.replace("_", "-"): value for name, value in {"Accept": "application/json", **headers}.items()
        }
        return self.request("POST", "/v1/models/model:predict", json.dumps(content).encode(), named)

    def wait_ready(self, timeout: float = 60) -> None:
        """Return once the server answers that it is ready.

        Raises:
            AssertionError: it is not ready in time, or has ended; shows its log.
        """
        self.wait_until(lambda: self.request("GET", "/readyz").status == 200, "is not ready", timeout)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 60) -> None:
        """Return once the condition holds.

        Raises:
            AssertionError: it does not hold in time, or the server has ended; shows its log.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if condition():
                    return
            time.sleep(0.02)
        raise AssertionError(f"the server {what}:\n{''.join(self.log)}")

    def stop(self, timeout: float = 30) -> int:
        """Send SIGINT, upon which no connection is taken any more, and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout)


@contextlib.contextmanager
def running_server(
    truss_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None, ready: bool = True
) -> Iterator[RunningServer]:
    """Serve a Truss on a free loopback port.

    Args:
        truss_dir: The Truss.
        arguments: Further arguments of `truss serve`.
        environment: The whole environment of the process; default: this process's.
        ready: Whether to wait until the model is loaded.
    """
    command = [sys.executable, "-m", "truss.cli", "serve", str(truss_dir), "--port", "0", *arguments]
    process = subprocess.Popen(  # our own program
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=None if environment is None else dict(environment),
    )
    server = RunningServer(process)
    reader = threading.Thread(target=_follow, args=(server,), daemon=True)
    reader.start()
    try:
        server.wait_until(lambda: bool(server.url), "did not start to listen")
        if ready:
            server.wait_ready()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()


def _follow(server: RunningServer) -> None:
    for line in server.process.stderr or ():
        server.log.append(line)
        found = _LISTENING.search(line)
        if found:
            server.url = found.group(1)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
