"""`truss run-image --watch`: a saved edit answers in the running container, without another build."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

pytestmark = [
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
]

MODEL = """\
import os
from ours import WORD

class Model:
    def load(self):
        self.weights = [object()]

    def predict(self, request):
        return [STEP, WORD, os.getpid(), id(self.weights)]
"""


class Watched:
    """A `truss run-image --watch` that runs, and the lines that it has written."""

    def __init__(self, folder, environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "truss.cli", "run-image", str(folder), "--watch", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        said = self.process.stdout.readline()
        assert said, "".join(self.lines)
        self.url = json.loads(said)["url"]

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def ask(self):
        answer = httpx.post(f"{self.url}/v1/models/model:predict", json={"inputs": []})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "".join(self.lines)
            assert self.process.poll() is None, "".join(self.lines)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(60)
        self._reader.join()
        return status


def test_a_saved_edit_answers_and_a_broken_one_does_not(bench, engine, small, tmp_path):
    folder = small("watched")
    file = folder / "model" / "model.py"
    file.write_text(MODEL.replace("STEP", "1"))
    (folder / "packages").mkdir()
    (folder / "packages" / "ours.py").write_text('WORD = "few"\n')
    folder.joinpath("model").chmod(0o700)  # only the user can read it
    environment = {
        **os.environ,
        "DOCKER_HOST": engine.host,
        "TRUSS_BASE_REGISTRY": bench.registry,
        "TRUSS_CACHE_DIR": str(bench.cache),
    }

    def containers(*words):
        """What the engine says of this Truss's."""
        return engine.docker("ps", *words, "--filter", f"label=io.truss.container={folder.resolve()}")

    watched = Watched(folder, environment)
    try:
        first = watched.ask()
        assert first[:2] == [1, "few"]
        image = containers("--format", "{{.Image}}")
        assert image
        beside = file.with_suffix(".new")  # as editors save: written beside, and renamed
        beside.write_text(MODEL.replace("STEP", "2"))
        beside.rename(file)
        watched.until(lambda: watched.ask()[0] == 2)
        assert watched.ask() == [2, *first[1:]]  # the same process, and the weights that it had loaded
        (folder / "packages" / "ours.py").write_text('WORD = "many"\n')
        watched.until(lambda: watched.ask()[1] == "many")
        file.write_text(MODEL.replace("STEP", "(("))
        watched.until(
            lambda: any("not taken up" in line and "syntax error" in line for line in watched.lines)
        )
        assert watched.ask()[:2] == [2, "many"]
        assert containers("--format", "{{.Image}}") == image
    finally:
        watched.stop()
    assert containers("--all", "--quiet") == ""
