"""Run a real registry, Debian's `docker-registry`, for the length of a test."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = "docker-registry"

USER = "truss"
PASSWORD = "correct horse"  # noqa: S105  # of a registry that lives as long as one test
# The registry reads only bcrypt, which the standard library cannot write: this is PASSWORD's.
_HTPASSWD = "truss:$2y$05$vH71qVCzOTtuqJvV3ZOoUuivKColx7Ao96LxwBTq3NSibnfmQ8dIS\n"  # as above
# Who comes with a token of ECR's as moto gives it to its one account.
_HTPASSWD += "AWS:$2y$05$abcdefghijklmnopqrstuu/4ofrUS75HrKu6f.iuRo0I/XlrmpqlC\n"

_LISTENING = re.compile(r'msg="listening on (127\.0\.0\.1:\d+)')


@dataclass
class RunningRegistry:
    """A registry process.

    Attributes:
        process: The process.
        folder: Where it keeps its content.
        host: Host and port, e.g. `127.0.0.1:40123`.
        log: The lines it has written so far.
    """

    process: subprocess.Popen[str]
    folder: Path
    host: str = ""
    log: list[str] = field(default_factory=list)
    _listens: threading.Event = field(default_factory=threading.Event)

    def stored(self) -> int:
        """How many bytes of content it keeps."""
        return sum(path.stat().st_size for path in self.folder.rglob("data") if path.is_file())

    def follow(self) -> None:
        """Read what the process writes until it ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if (found := _LISTENING.search(line)) is not None:
                self.host = found[1]
                self._listens.set()
        self._listens.set()  # it ended: whoever waits shall see that

    def wait(self, timeout: float = 30) -> None:
        """Return once it listens.

        Raises:
            AssertionError: It does not in time, or has ended; shows its log.
        """
        assert self._listens.wait(timeout), "the registry did not start in time"
        assert self.host, "the registry ended:\n" + "".join(self.log)


@contextlib.contextmanager
def running_registry(
    folder: Path,
    *,
    protected: bool = False,
    certificate: tuple[Path, Path] | None = None,
    auth: Mapping[str, Any] | None = None,
) -> Iterator[RunningRegistry]:
    """Run a registry on a free loopback port.

    Args:
        folder: Where it may write; is made.
        protected: Whether it wants `USER` and `PASSWORD`, or what moto gives as a token of ECR's.
        certificate: The files of a certificate and its key, for TLS; without them it speaks plain HTTP.
        auth: Its own settings of who may use it, in place of `protected`:
            https://distribution.github.io/distribution/about/configuration/#auth
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(_HTPASSWD)
    by_password = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}} if protected else None
    (folder / "config.json").write_text(json.dumps(_config(folder, auth or by_password, certificate)))
    process = subprocess.Popen(  # found on the path: distributions differ in where they put it
        [PROGRAM, "serve", str(folder / "config.json")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    registry = RunningRegistry(process, folder / "content")
    reader = threading.Thread(target=registry.follow, daemon=True)
    reader.start()
    try:
        registry.wait()
        yield registry
    finally:
        process.terminate()
        process.wait(30)
        reader.join(30)


def _config(
    folder: Path, auth: Mapping[str, Any] | None, certificate: tuple[Path, Path] | None
) -> dict[str, Any]:
    """The registry's settings; it reads YAML, and JSON is YAML."""
    http: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "for the tests"}
    if certificate is not None:
        http["tls"] = {"certificate": str(certificate[0]), "key": str(certificate[1])}
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "content")},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": http,
    }
    if auth:
        config["auth"] = auth
    return config
