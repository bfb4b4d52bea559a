"""The cluster of ray_cluster.py, run for tests."""

import contextlib
import json
import socket
import subprocess
from pathlib import Path

PYTHON = Path(__file__).parents[2] / ".venvs" / "ray" / "bin" / "python"
PROGRAM = Path(__file__).with_name("ray_cluster.py")


class Nodes:
    """A running cluster.

    Attributes:
        dashboard: The URL of its dashboard.
        port: Where Serve will listen.
        nodes: The ids of its nodes, the head's first.
    """

    def __init__(self, process):
        self._process = process
        self.port = free_port()
        self._read()

    def _read(self):
        line = self._process.stdout.readline()
        assert line, "the cluster did not start: what it says is above"
        said = json.loads(line)
        self.dashboard = said.get("dashboard") or self.dashboard
        self.nodes = said["nodes"]

    @property
    def words(self):
        """The options of a deployment to it."""
        words = ["--to", "ray", "--address", self.dashboard, "--host", "127.0.0.1", "--port", str(self.port)]
        return [*words, "--proxies", "HeadOnly"]

    def kill(self, node):
        """End a node, with all its processes."""
        self._process.stdin.write(f"kill {node}\n")
        self._process.stdin.flush()
        self._read()


@contextlib.contextmanager
def running_nodes(cpus=4, gpus=0):
    """A cluster of two nodes, for the length of a block; GPUs are the head's."""
    ports = ["--dashboard", str(free_port()), "--agent", str(free_port())]
    words = [PYTHON, PROGRAM, *ports, "--cpus", str(cpus), "--gpus", str(gpus)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Nodes(process)
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
