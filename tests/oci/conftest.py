"""Registries for the tests of this room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from truss.testing.registry import PROGRAM, RunningRegistry, running_registry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which(PROGRAM) is None:
        for item in items:
            if item.get_closest_marker("registry"):
                item.add_marker(
                    pytest.mark.skip(reason=f"{PROGRAM} is not installed: scripts/setup-registry")
                )


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry of this test's own that everyone may use."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def protected_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry of this test's own that wants a user and a password."""
    with running_registry(tmp_path_factory.mktemp("registry"), protected=True) as running:
        yield running
