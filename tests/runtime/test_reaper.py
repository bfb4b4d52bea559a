"""The first process of a container, played by one that orphans come to as they come to process 1.

That the kernel treats signals of process 1 otherwise is not shown: they are blocked and awaited, which
holds for both.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading

import psutil
import pytest

import truss
from truss.testing.server import RunningServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process 1 of a container is Linux's")

SERVER = pathlib.Path(__file__).with_name("wrapped_server.py")


def get_orphans():
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def container(folder):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "truss.runtime.container"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(pathlib.Path(truss.__file__).parents[1]),  # the sources under test
            "TRUSS_DIR": str(folder),
            "PORT": str(port),
        },
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=get_orphans,
    )
    running = RunningServer(process, f"http://127.0.0.1:{port}")
    reader = threading.Thread(target=lambda: running.log.extend(process.stderr))
    reader.start()
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


@pytest.fixture
def wrapping(tmp_path):
    """A Truss whose server leaves a process behind as it starts."""
    port = free_port()
    shutil.copy(SERVER, tmp_path)
    command = f"(sleep 3600 & echo $! > orphan); exec python wrapped_server.py {port}"
    (tmp_path / "config.yaml").write_text(
        f"docker_server: {{start_command: \"sh -c '{command}'\", server_port: {port}, "
        "predict_endpoint: /x, readiness_endpoint: /ready, liveness_endpoint: /alive}\n"
    )
    return tmp_path


def test_orphans_are_buried_and_the_server_keeps_its_own_children(wrapping):
    with container(wrapping) as running:
        running.wait_ready()
        orphan = int((wrapping / "orphan").read_text())
        assert psutil.Process(orphan).ppid() == running.process.pid
        os.kill(orphan, signal.SIGKILL)
        running.wait_until(lambda: not psutil.pid_exists(orphan), "leaves it unburied")
        (front,) = psutil.Process(running.process.pid).children()
        (server,) = front.children()
        server.kill()
        running.wait_until(lambda: any("signal 9" in line for line in running.log), "does not see its end")
        running.wait_ready()
        assert running.stop() == 0
        assert any("stopping" in line for line in running.log)


def test_the_exit_status_is_the_program_s(make_truss, tmp_path):
    folder = make_truss("class Model:\n    def predict(self, request):\n        return request\n")
    with container(folder) as running:
        running.wait_ready()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 0
    with container(folder) as running:
        running.wait_ready()
        (front,) = psutil.Process(running.process.pid).children()
        front.kill()
        assert running.process.wait(30) == 128 + signal.SIGKILL
    with container(tmp_path / "nothing") as running:
        assert running.process.wait(30) not in (0, 128 + signal.SIGKILL)
