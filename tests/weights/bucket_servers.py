"""Servers of S3's and of Google storage's protocols: moto, and an emulator, each with a bucket `models`.

Neither shows that the clouds themselves answer so.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

from aws_server import wait_for

from truss.testing.engine import free_port

FILES = {
    "model/config.json": b"{}",
    "model/weights.bin": os.urandom(9 << 20),  # more than one range
    "model/deep/er.txt": b"deep",
    "model/readme.md": b"not wanted",
}
KEYS = json.dumps({"aws_access_key_id": "me", "aws_secret_access_key": "mine", "aws_region": "us-east-1"})


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[str]:
    """A server of S3 that has the files in its bucket; gives its address."""
    import s3fs

    url = f"http://127.0.0.1:{(port := free_port())}"
    words = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        wait_for(f"{url}/moto-api/", process)
        files = s3fs.S3FileSystem(
            key="me", secret="mine", endpoint_url=url, client_kwargs={"region_name": "us-east-1"}
        )
        files.call_s3("create_bucket", Bucket="models")
        for name, content in FILES.items():
            files.pipe_file(f"models/{name}", content)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def running_gs(folder: Path) -> Iterator[str]:
    """A server of Google's storage that has the files in its bucket; gives its address."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    words = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [*words, "--port", str(port), "--in-memory", "--default-bucket", "models"],
        stdout=log,
        stderr=log,
        cwd=folder,
    )
    try:
        wait_for(f"{url}/storage/v1/b/models", process)
        for name, content in FILES.items():
            upload(url, name, content)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def upload(url: str, name: str, content: bytes) -> None:
    """Put a file into the bucket of Google's storage."""
    put = f"{url}/upload/storage/v1/b/models/o?uploadType=media&name={quote(name, safe='')}"
    with urlopen(Request(put, content, {"Content-Type": "application/octet-stream"}), timeout=60):
        pass
