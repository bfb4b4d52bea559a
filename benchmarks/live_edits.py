"""How long it takes from a saved edit of a model's code to its answer, out of a container under `--watch`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.places import PYTHON

_PREDICT = "/v1/models/model:predict"
_LONGEST_SECONDS = 60
_RETURNS = "        return answer\n\n    def _table"
"""The end of `postprocess` in the model class of a scikit-learn estimator."""


def seconds_to_answer(truss_dir: Path, variables: Mapping[str, str], edits: int) -> list[float]:
    """For each edit, the seconds from its save until an answer shows it.

    The class is saved as an editor does, with another number in what it answers; a client asks for it without
    pause, and each of its answers until then has to be the one before.

    Raises:
        RuntimeError: an edit is not seen within a minute, or answers with something else.
    """
    file = truss_dir / "model" / "model.py"
    source = file.read_text()
    if _RETURNS not in source:
        raise RuntimeError(f"{file}: `postprocess` is not where it was")
    with _running(truss_dir, variables) as address:
        return [_edited(file, source, address, number) for number in range(1, edits + 1)]


def _edited(file: Path, source: str, address: str, number: int) -> float:
    changed = _RETURNS.replace("return answer", f"return {{**answer, 'edit': {number}}}")
    beside = file.with_suffix(".new")
    beside.write_text(source.replace(_RETURNS, changed))
    saved = time.perf_counter()
    beside.replace(file)
    connection = http.client.HTTPConnection(address, timeout=_LONGEST_SECONDS)
    try:
        while (edit := _ask(connection).get("edit", 0)) != number:
            if edit != number - 1 or time.perf_counter() - saved > _LONGEST_SECONDS:
                raise RuntimeError(f"edit {edit} answers for edit {number}")
        return time.perf_counter() - saved
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection) -> dict[str, int]:
    connection.request("POST", _PREDICT, b'{"inputs": [[5.1, 3.5, 1.4, 0.2]]}')
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {body[:500]!r}")
    found: dict[str, int] = json.loads(body)
    return found


@contextlib.contextmanager
def _running(truss_dir: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """Run its container and watch it; gives host and port."""
    process = subprocess.Popen(
        [PYTHON, "-m", "truss.cli", "run-image", truss_dir, "--watch", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **variables},
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        if not said:
            raise RuntimeError(f"truss run-image {truss_dir} --watch does not start")
        yield urlsplit(json.loads(said)["url"]).netloc
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_LONGEST_SECONDS)
