"""moto's server: AWS's APIs over HTTP, with nothing that runs behind them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest


def free_address() -> str:
    """An address on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@contextlib.contextmanager
def aws(folder: Path) -> Iterator[str]:
    """A server, and the environment in which AWS's client finds it; gives its address."""
    url = free_address()
    words = [
        sys.executable,
        Path(__file__).with_name("moto_server.py"),
        "--host",
        "127.0.0.1",
        "--port",
        url.rpartition(":")[2],
    ]
    # Without this it has none of the policies that AWS has made.
    environ = os.environ | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    with (folder / "log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environ)
        for name, value in environment(url).items():
            patch.setenv(name, value)
        try:
            wait_for(f"{url}/moto-api/", process)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def environment(url: str) -> dict[str, str]:
    """What makes AWS's client ask a server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "mine",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


def reset(url: str) -> None:
    """Empty the account."""
    with urlopen(Request(f"{url}/moto-api/reset", method="POST"), timeout=30):
        pass


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return once a server answers at an address."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), urlopen(url, timeout=5):
            return
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.1)
