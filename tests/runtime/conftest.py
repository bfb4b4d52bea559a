"""Trusses made by hand: a model class as text, a config as text. And what collects their spans."""

import textwrap
import threading
from http.server import ThreadingHTTPServer

import pytest
from span_collector import Collector


@pytest.fixture
def make_truss(tmp_path):
    """Write a Truss with the given model code and config text; returns its folder."""

    def make(code, config="", name="a_truss"):
        folder = tmp_path / name
        (folder / "model").mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(textwrap.dedent(config))
        (folder / "model" / "__init__.py").touch()
        (folder / "model" / "model.py").write_text(textwrap.dedent(code))
        return folder

    return make


@pytest.fixture(scope="module")
def collector():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.spans, server.raw = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
