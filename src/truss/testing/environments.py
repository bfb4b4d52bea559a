"""Whether what packaging captured is enough, and no more.

The model answers in an environment made of it alone, and in none that lacks a part of it.

Derive from one of these in place of `FrameworkConformance`, and the model is served so as well::

    class TestMyModel(OwnEnvironment): ...
    class TestAnotherKind(ServedAlone): ...
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from truss.config import Signature, read_config
from truss.environments import ensure_environment, own_requirement, wanted_by
from truss.handle import create
from truss.model import to_plain
from truss.model.compare import tolerance_of
from truss.model.examples import Example
from truss.model.integrity import checksum
from truss.testing.frameworks import FrameworkConformance, assert_same, short_rows
from truss.testing.needed import environment_of
from truss.testing.server import RunningServer, running_server

_TOGETHER = 8
_MOST_ROUNDS = 50
_LONGEST_START = 300
"""Seconds. In a new environment, Python compiles each module that it imports."""


class ServedAlone(FrameworkConformance):
    """The suite with a check over HTTP, in an environment that kinds with the same requirements share."""

    @pytest.mark.network
    def test_it_answers_from_captured_requirements_alone(self, tmp_path: Path) -> None:
        """Packaged, moved, and served in a new environment: the same answers, alone and together.

        A client's replay of the examples succeeds, and what the live object cannot read is refused with its
        place in the request.
        """
        model, request = self.make_model(), self.make_request()
        create(model, tmp_path / "made", examples=[Example("asked", request)])
        folder = (tmp_path / "made").rename(tmp_path / "moved")
        config = read_config(folder)
        ensure_environment(wanted_by(folder, config, own_requirement()))
        live = self.framework.answer(model, request)
        with (
            running_server(folder, "--isolated", ready=False) as server,
            ThreadPoolExecutor(_TOGETHER) as pool,
        ):
            server.wait_ready(_LONGEST_START)
            fresh = server.predict(to_plain(request)).json()
            assert_same(to_plain(live), fresh, tolerance_of(live), "answer")
            asked = self._parts(model, request) * _TOGETHER
            together = list(pool.map(lambda one: server.predict(to_plain(one)), asked))
            if config.runtime.batching.mode != "none":
                for _ in range(_MOST_ROUNDS):
                    if _has_joined(server):
                        break
                    together += pool.map(lambda one: server.predict(to_plain(one)), asked)
                assert _has_joined(server), "requests that come together are never joined"
            _replay(folder, server)
            for unfit in _unfit(request, config.signature):
                if self._is_refused(model, unfit):
                    _assert_refused(server, unfit)
        expected = itertools.cycle([self.framework.answer(model, one) for one in asked])
        for answer, one in zip(together, expected, strict=False):
            assert_same(
                to_plain(one), answer.json(), max(tolerance_of(one), self.relative_tolerance), "answer"
            )

    def _parts(self, model: object, request: Any) -> list[Any]:
        """Requests of one row each; the request itself for a model of a fixed number of rows."""
        rows = list(_one_by_one(request))
        return [request] if any(self._is_refused(model, row) for row in rows) else rows

    def _is_refused(self, model: object, request: Any) -> bool:
        try:
            self.framework.answer(model, request)
        except Exception:  # noqa: BLE001 - whatever the library raises
            return True
        return False


class OwnEnvironment(ServedAlone):
    """That suite with two checks that take long, and find the same for each kind of a framework's models."""

    def test_a_data_file_that_was_cut_off_is_named(self, tmp_path: Path) -> None:
        """The server is not ready, and says which file it is and which checksum was expected."""
        folder = create(self.make_model(), tmp_path / "made").spec.truss_dir
        files = (path for path in (folder / "data").rglob("*") if path.is_file())
        largest = max(files, key=lambda path: path.stat().st_size)
        expected = checksum(largest)
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
        with running_server(folder, ready=False) as server:

            def said() -> str:
                return server.request("GET", "/readyz").body.decode()

            server.wait_until(
                lambda: expected in said(), "does not say what was expected of the file", _LONGEST_START
            )
            assert largest.relative_to(folder).as_posix() in said()

    @pytest.mark.network
    def test_no_captured_requirement_can_be_done_without(
        self, tmp_path: Path, record_property: Callable[[str, object], None]
    ) -> None:
        """Without Truss it answers in its environment, and without any one requirement it cannot."""
        model, request = self.make_model(), to_plain(self.make_request())
        create(model, tmp_path / "made")
        environment = environment_of((tmp_path / "made").rename(tmp_path / "moved"))
        whole = environment.attempt(request)
        assert whole.failure is None, f"it fails with all of its requirements: {whole.failure}"
        live = self.framework.answer(model, request)
        assert_same(to_plain(live), whole.answer, tolerance_of(live), "answer")
        lacking = {name: environment.attempt(request, without=name) for name in environment.requirements}
        for name, attempt in lacking.items():
            record_property(f"without {name}", attempt.failure or "answers")
        needless = [name for name, attempt in lacking.items() if attempt.failure is None]
        assert not needless, f"it answers without {needless} as well, which it is said to require"


def _replay(folder: Path, server: RunningServer) -> None:
    """Replay the examples of a Truss against a server, from the command line."""
    words = ["run-example", str(folder), "--check", "--url", server.url]
    done = subprocess.run(
        [sys.executable, "-m", "truss.cli", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"the examples do not hold against the server:\n{done.stderr}"


def _unfit(request: Any, signature: Signature) -> Iterator[Any]:
    """Requests of one row that lacks a value, has one too many, or holds a null in place of a number."""
    if not signature or not isinstance(request.get("inputs"), list):
        return
    row = to_plain(request["inputs"][0])
    short = short_rows(row, signature)
    long = [[*row, row[-1]]] if short and isinstance(row, list) else []
    for other in (*short, *long, *itertools.islice(_with_null(row), 1)):
        yield {**request, "inputs": [other]}


def _with_null(value: Any) -> Iterator[Any]:
    """The value with null in place of one of the numbers in it, for each of them."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield None
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        for part in _with_null(value[key]):
            changed = value.copy()
            changed[key] = part
            yield changed


def _assert_refused(server: RunningServer, request: Any) -> None:
    answer = server.predict(request)
    assert answer.status == 400, f"{request!r} is answered {answer.status}: {answer.body!r}"
    message = answer.json()["error"]["message"]
    assert "inputs[0]" in message, f"{request!r} is refused without its place: {message}"


def _has_joined(server: RunningServer) -> bool:
    """Whether the server has run several requests in one batch."""
    lines = server.request("GET", "/metrics").body.decode().splitlines()
    sums = dict(line.rsplit(" ", 1) for line in lines if line.startswith("truss_batch_requests_"))
    return float(sums["truss_batch_requests_sum"]) > float(sums["truss_batch_requests_count"])


def _one_by_one(request: Any) -> Iterator[Any]:
    """Requests with one of the rows each; the request itself when it has none."""
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        yield request
        return
    for row in request["inputs"]:
        yield {**request, "inputs": [row]}
