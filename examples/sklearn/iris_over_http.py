"""Package a model, serve it, and fetch a prediction over HTTP.

Run it with `python examples/sklearn/iris_over_http.py`. It prints the request and the answer, and stops the
server.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from socket import create_server
from tempfile import TemporaryDirectory

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import truss

READY_WITHIN = 60.0  # seconds


def main() -> None:
    iris = load_iris()
    model = LogisticRegression(max_iter=500).fit(iris.data, iris.target_names[iris.target])

    with TemporaryDirectory() as folder:
        truss_dir = Path(folder) / "iris"
        truss.create(model, truss_dir)
        with served(truss_dir) as port:
            request = {"inputs": [[5.1, 3.5, 1.4, 0.2]]}
            print("request:", json.dumps(request))
            print("answer: ", ask(port, "POST", "/v1/models/model:predict", json.dumps(request)))


@contextmanager
def served(truss_dir: Path) -> Iterator[int]:
    """Run `truss serve` as a process of its own while the block runs; gives its port."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "truss.cli", "serve", str(truss_dir), "--port", str(port)]
    server = subprocess.Popen(command)
    try:
        wait_until_ready(server, port)
        yield port
    finally:
        server.terminate()
        server.wait()


def wait_until_ready(server: "subprocess.Popen[bytes]", port: int) -> None:
    """Return when the server has loaded the model."""
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit("the server stopped before it was ready")
        try:
            ask(port, "GET", "/readyz")
        except (OSError, RuntimeError):
            time.sleep(0.05)  # not listening yet, or still loading
        else:
            return
    sys.exit(f"the server was not ready within {READY_WITHIN:.0f} seconds")


def ask(port: int, method: str, path: str, body: str | None = None) -> str:
    """The text of the server's answer.

    Raises:
        OSError: nothing listens on the port.
        RuntimeError: the answer is an error.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{method} {path} was answered with {answer.status}: {text}")
    return text


if __name__ == "__main__":
    main()
