"""`s3://` and `gs://` sources, from servers that speak the protocols: moto, and a storage emulator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket_servers import FILES, KEYS, running_gs, running_s3, upload

from truss.errors import WeightsError
from truss.model.brought import truss_dir_of
from truss.weights.fetch import Fetcher
from truss.weights.sources import Source


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_s3(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture(scope="module")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_gs(tmp_path_factory.mktemp("gs")) as url:
        yield url


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
