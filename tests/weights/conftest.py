from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from web_server import Web, running_web

from truss.weights.fetch import Fetcher
from truss.weights.patience import Patience


@pytest.fixture
def web() -> Iterator[Web]:
    with running_web() as running:
        yield running


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    """Fetches into a folder of its own, and waits for nothing."""
    return Fetcher(tmp_path / "weights", {}, Patience(tries=3, pause=lambda _: None))


@pytest.fixture
def reading(tmp_path: Path) -> Callable[[str, str], Path]:
    """Make a Truss whose model answers with what a file holds that it reads when it is loaded."""

    def make(config: str, file: str) -> Path:
        folder = tmp_path / "reading"
        (folder / "model").mkdir(parents=True)
        (folder / "config.yaml").write_text(config)
        (folder / "model" / "model.py").write_text(
            "from pathlib import Path\n\n\n"
            "class Model:\n"
            "    def __init__(self, data_dir):\n        self.data_dir = data_dir\n\n"
            "    def load(self):\n"
            f"        self.text = (self.data_dir / {file!r}).read_text()\n\n"
            "    def predict(self, request):\n        return {'predictions': [self.text]}\n"
        )
        return folder

    return make
