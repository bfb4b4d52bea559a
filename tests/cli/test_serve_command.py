"""`truss serve`: what it says on the streams, and what keeps it from starting. The rest: tests/runtime."""

import re
import shlex
import signal
import socket
import subprocess
import sys
import threading

import pytest

from truss.testing.server import running_server


def test_it_prints_its_address_and_a_request_that_works(make_truss):
    with running_server(make_truss()) as server:
        log = "".join(server.log)
        assert f"serving on {server.url}\n" in log
        line = next(line for line in log.splitlines() if line.startswith("try: "))
        command = shlex.split(line.removeprefix("try: "))
        assert command[:2] == ["curl", f"{server.url}/v1/models/model:predict"]
        assert server.predict({"inputs": [4]}).json() == {"predictions": [8]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero(make_truss, number):
    with running_server(make_truss()) as server:
        server.process.send_signal(number)
        assert server.process.wait(60) == 0
        assert "Traceback" not in "".join(server.log)


def test_the_port_is_taken(truss, make_truss):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = truss("serve", make_truss(), "--port", port)
    assert (ran.code, ran.out) == (1, "")
    assert f"127.0.0.1:{port}" in ran.err
    assert re.search(r"hint: .*--port", ran.err)
    assert "serving on" not in ran.err
    assert "Traceback" not in ran.err


def test_an_address_that_is_not_ours(truss, make_truss):
    ran = truss("serve", make_truss(), "--host", "192.0.2.1", "--port", "0")
    assert (ran.code, ran.out) == (1, "")
    assert "--host" in ran.err


@pytest.mark.parametrize("words", [["--port", "70000"], ["--port", "http"], ["--workers", "0"]])
def test_options_out_of_range(truss, make_truss, words):
    ran = truss("serve", make_truss(), *words)
    assert (ran.code, ran.out) == (2, "")
    assert words[0] in ran.err


def test_a_folder_without_config(truss, tmp_path):
    ran = truss("serve", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "config.yaml" in ran.err


@pytest.mark.parametrize(
    ("model", "said"),
    [("class Model: ...", "no method `predict`"), ("class Model:\n    def predict(self)\n", "syntax error")],
)
def test_a_broken_model_class_is_explained_and_ends_it(truss, make_truss, model, said):
    ran = truss("serve", make_truss(model), "--port", "0")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "model.py" in ran.err
    assert "\nhint: " in ran.err
    assert "Traceback" not in ran.err


def test_the_front_imports_neither_packaging_nor_handle(make_truss):
    """Its own imports decide how soon the port is open; the worker's, how soon there is an answer."""
    code = "import sys; from truss.cli import main; main(sys.argv[1:]); print(*sorted(sys.modules))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(make_truss()), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    too_late = threading.Timer(60, process.kill)
    too_late.start()
    for line in process.stderr:
        if "serving on" in line:
            process.terminate()
    too_late.cancel()
    loaded = process.communicate()[0].split()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("truss.")}
    assert "runtime" in rooms
    assert rooms <= {"cli", "config", "errors", "model", "runtime", "version"}
    assert not {"rich", "numpy"} & set(loaded)


def test_requirements_that_are_not_met_are_said(make_truss):
    config = "requirements: [nothing-like-this==1.0, msgspec==0.0.1]"
    with running_server(make_truss(config=config)) as server:
        log = "".join(server.log)
    assert "requirement not met here: nothing-like-this==1.0: not installed" in log
    assert "requirement not met here: msgspec==0.0.1: " in log
    assert "--isolated" in log
