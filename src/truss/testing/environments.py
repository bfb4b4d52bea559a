"""Whether what packaging captured is enough, and no more.

The model answers in an environment made of it alone, and in none that lacks a part of it.

Derive from it in place of `FrameworkConformance`, and the model is served so as well::

    class TestMyModel(OwnEnvironment): ...
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from truss.config import read_config
from truss.environments import ensure_environment, own_requirement, wanted_by
from truss.handle import create
from truss.model import to_plain
from truss.model.compare import tolerance_of
from truss.testing.frameworks import FrameworkConformance, assert_same
from truss.testing.needed import environment_of
from truss.testing.server import RunningServer, running_server

_TOGETHER = 8
_MOST_ROUNDS = 50


class OwnEnvironment(FrameworkConformance):
    """The suite with a check that takes as long as making an environment does."""

    @pytest.mark.network
    def test_it_answers_from_captured_requirements_alone(self, tmp_path: Path) -> None:
        """Packaged, moved, and served in a new environment: the same answers, alone and together."""
        model, request = self.make_model(), self.make_request()
        create(model, tmp_path / "made")
        folder = (tmp_path / "made").rename(tmp_path / "moved")
        config = read_config(folder)
        ensure_environment(wanted_by(folder, config, own_requirement()))
        live = self.framework.answer(model, request)
        with running_server(folder, "--isolated") as server, ThreadPoolExecutor(_TOGETHER) as pool:
            fresh = server.predict(to_plain(request)).json()
            assert_same(to_plain(live), fresh, tolerance_of(live), "answer")
            asked = list(_one_by_one(request)) * _TOGETHER
            together = list(pool.map(lambda one: server.predict(to_plain(one)), asked))
            if config.runtime.batching.mode != "none":
                for _ in range(_MOST_ROUNDS):
                    if _has_joined(server):
                        break
                    together += pool.map(lambda one: server.predict(to_plain(one)), asked)
                assert _has_joined(server), "requests that come together are never joined"
        expected = itertools.cycle([self.framework.answer(model, one) for one in asked])
        for answer, one in zip(together, expected, strict=False):
            assert_same(
                to_plain(one), answer.json(), max(tolerance_of(one), self.relative_tolerance), "answer"
            )

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
