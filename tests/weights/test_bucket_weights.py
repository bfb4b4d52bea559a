"""`s3://` and `gs://` sources, from servers that speak the protocols: moto, and a storage emulator."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from truss.errors import WeightsError
from truss.model.brought import truss_dir_of
from truss.weights.fetch import Fetcher
from truss.weights.sources import Source

FILES = {
    "model/config.json": b"{}",
    "model/weights.bin": os.urandom(9 << 20),  # more than one range
    "model/deep/er.txt": b"deep",
    "model/readme.md": b"not wanted",
}
KEYS = json.dumps({"aws_access_key_id": "me", "aws_secret_access_key": "mine", "aws_region": "us-east-1"})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), urlopen(url, timeout=5):
            return
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of S3 that has a bucket `models`; gives its address."""
    import s3fs

    url = f"http://127.0.0.1:{(port := free_port())}"
    words = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
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


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of Google's storage that has a bucket `models`; gives its address."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    folder = tmp_path_factory.mktemp("gs")
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


def source(scheme: str, path: str = "models/model", **more: object) -> Source:
    return Source(f"{scheme}://{path}", "/weights", "folder", "start", **more)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


WANTED = {name.removeprefix("model/"): content for name, content in FILES.items() if "readme" not in name}


def test_s3_prefixes_are_fetched_with_their_digests(
    s3: str, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    fetcher.secrets["keys"] = KEYS  # type: ignore[index]
    found = fetcher.fetch(source("s3", secret="keys", ignore=("*.md",)))
    assert contents(found.folder) == WANTED
    told = json.loads(next(found.folder.parent.glob("*.json")).read_text())["files"]
    assert told["weights.bin"] == {"md5": hashlib.md5(FILES["model/weights.bin"]).hexdigest()}


def test_s3_prefixes_of_one_file_and_of_none(s3: str, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    fetcher.secrets["keys"] = KEYS  # type: ignore[index]
    one = fetcher.fetch(source("s3", "models/model/config.json", secret="keys"))
    assert contents(one.folder) == {"config.json": b"{}"}
    with pytest.raises(WeightsError, match="nothing at this address"):
        fetcher.fetch(source("s3", "models/none", secret="keys"))
    with pytest.raises(WeightsError, match="nothing at this address"):
        fetcher.fetch(source("s3", "nobucket/none", secret="keys"))


def test_without_keys_the_secret_is_named(
    s3: str, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        fetcher.fetch(source("s3", secret="keys"))
    assert "TRUSS_SECRET_keys" in str(caught.value.hint)
    fetcher.secrets["keys"] = "no json"  # type: ignore[index]
    with pytest.raises(WeightsError, match="'keys' is not a JSON object"):
        fetcher.fetch(source("s3", secret="keys"))


def test_gs_prefixes_are_fetched_with_their_digests(
    gs: str, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs)
    found = fetcher.fetch(source("gs", ignore=("*.md",)))
    assert contents(found.folder) == WANTED
    with pytest.raises(WeightsError, match="nothing at this address"):
        fetcher.fetch(source("gs", "models/none"))


@pytest.mark.parametrize("place", ["a_truss", "packed/a_truss"])
def test_a_truss_that_vertex_names_is_fetched_and_served(
    gs: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs)
    for name, content in {"config.yaml": b"model_name: a\n", "model/model.py": b"class Model: ..."}.items():
        upload(gs, f"{place}/{name}", content)
    named = f"gs://models/{place.partition('/')[0]}/"
    variables = {"AIP_STORAGE_URI": named, "TRUSS_WEIGHTS_DIR": str(tmp_path)}
    found = truss_dir_of(variables, tmp_path / "image")
    assert (found / "model" / "model.py").read_bytes() == b"class Model: ..."


def test_what_vertex_names_otherwise_is_the_model_s_own_affair(
    gs: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs)
    variables = {"AIP_STORAGE_URI": "gs://models/model", "TRUSS_WEIGHTS_DIR": str(tmp_path / "weights")}
    assert truss_dir_of(variables, tmp_path / "image") == tmp_path / "image" / "app"
    assert not list(tmp_path.rglob("weights.bin"))
