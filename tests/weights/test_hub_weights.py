"""`hf://` sources, through the hub's own library, from a stand-in for the hub (see `hub_server`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, running_hub

from truss.config import parse_config
from truss.errors import WeightsError
from truss.weights.fetch import Fetcher
from truss.weights.place import bring
from truss.weights.sources import Source

FILES = {
    "config.json": b'{"a": 1}',
    "deep/vocab.txt": b"one\ntwo\n",
    "model.safetensors": os.urandom(3 << 20),
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with running_hub() as running:
        running.files.update(FILES)
        address = f"http://127.0.0.1:{running.port}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        yield running


def source(**more: object) -> Source:
    return Source("hf://team/model", "/weights", "folder", "start", **more)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_repository_is_fetched_at_its_commit_and_goes_on_where_it_broke_off(hub: Hub, fetcher: Fetcher):
    hub.breaks = [100, 1 << 20]
    found = fetcher.fetch(source())
    assert (contents(found.folder), found.revision) == (FILES, COMMIT)


def test_patterns_choose_files(hub: Hub, fetcher: Fetcher):
    assert set(contents(fetcher.fetch(source(allow=("*.json", "deep/"))).folder)) == {
        "config.json",
        "deep/vocab.txt",
    }


def test_a_commit_asks_nobody_again(hub: Hub, fetcher: Fetcher):
    fetcher.fetch(source())
    hub.seen.clear()
    with pytest.raises(WeightsError, match=f"no revision '{COMMIT}'"):
        fetcher.fetch(source(revision=COMMIT))  # this hub tells of its main branch only
    assert hub.seen


def test_what_came_otherwise_than_the_hub_says_is_refused(
    hub: Hub, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hub_server.LARGE", 1)
    monkeypatch.setattr(
        "hub_server.hashlib.sha256", lambda _: type("Wrong", (), {"hexdigest": lambda _: "0" * 64})()
    )
    with pytest.raises(WeightsError, match=f"not {'0' * 64}"):
        fetcher.fetch(source(allow=("config.json",)))


def test_gated_repositories_name_the_secret(hub: Hub, fetcher: Fetcher):
    hub.token = "t0ken"
    with pytest.raises(WeightsError) as caught:
        fetcher.fetch(source(secret="hf"))
    assert "TRUSS_SECRET_hf" in str(caught.value.hint)
    fetcher.secrets["hf"] = "t0ken"  # type: ignore[index]
    assert contents(fetcher.fetch(source(secret="hf")).folder) == FILES
    assert {token for _, token in hub.seen[1:]} == {"t0ken"}


def test_what_is_not_there_is_said(hub: Hub, fetcher: Fetcher):
    with pytest.raises(WeightsError, match="no such repository"):
        fetcher.fetch(Source("hf://team/none", "/weights", "folder", "start"))


def test_the_hubs_own_libraries_find_what_was_fetched(hub: Hub, tmp_path: Path):
    config = parse_config("model_cache: [{repo_id: team/model, revision: main}]\n")
    variables = {"HF_HOME": str(tmp_path / "home"), "TRUSS_WEIGHTS_DIR": str(tmp_path / "kept")}
    bring(tmp_path, config, {}, variables)
    code = (
        "from huggingface_hub import snapshot_download\n"
        "from pathlib import Path\n"
        "print(Path(snapshot_download('team/model'), 'config.json').read_text())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **variables, "HF_HUB_OFFLINE": "1"},
        check=True,
    )
    assert done.stdout.strip() == '{"a": 1}'
