"""What holds for all tests, and what images are tested with: a registry, an engine, small Trusses."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from truss.testing import engine as engines
from truss.testing import images
from truss.testing import registry as registries
from truss.testing.environments import OwnEnvironment, ServedAlone

BASE = Path(__file__).parents[1] / ".images" / "base.tar"

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# For a long look: python -m pytest --hypothesis-profile=fuzz tests/runtime/test_frames.py
settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("TRUSS_FUZZ_EXAMPLES", "100_000")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


_OF_EACH_KIND = frozenset(
    {
        "test_it_answers_from_captured_requirements_alone",
        "test_fresh_process_answers_as_the_live_object",
    }
)
"""Checks that import a framework anew for each kind of its models, which takes up to 15 seconds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say with `--thorough` that half an hour more is at hand."""
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run as well what another test stands for: all kinds of models, all variants of a machine",
    )


def pytest_configure() -> None:
    """Let interrupts through to what tests start: in the background of a shell they are ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("thorough"):
        left = {item for item in items if _is_thorough(item) or _is_one_of_many_kinds(item)}
        config.hook.pytest_deselected(items=list(left))
        items[:] = [item for item in items if item not in left]
    missing = {
        "registry": None if shutil.which(registries.PROGRAM) and BASE.exists() else "scripts/setup-base",
        "engine": None if shutil.which(engines.PROGRAM) and os.geteuid() == 0 else "scripts/setup-engine",
    }
    for item in items:
        for name, script in missing.items():
            if script and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"not set up: {script}"))


def _is_thorough(item: pytest.Item) -> bool:
    """Whether a test is marked so, or is of a suite's and its class names it in `stood_for`."""
    named = getattr(getattr(item, "cls", None), "stood_for", ())
    return item.get_closest_marker("thorough") is not None or getattr(item, "originalname", "") in named


def _is_one_of_many_kinds(item: pytest.Item) -> bool:
    """Whether a check is of a model for which another of its framework stands, which has all checks."""
    if getattr(item, "originalname", "") not in _OF_EACH_KIND or item.cls is None:
        return False
    return issubclass(item.cls, ServedAlone) and not issubclass(item.cls, OwnEnvironment)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Hold what `--dist loadgroup` promises: two clusters at a time would be in each other's way."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
                raise pytest.UsageError(f"{item.nodeid}: pytest-xdist does not keep its group together")


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[images.Bench]:
    """A registry with a base for two processors under the default base's name."""
    with images.running_bench(BASE, tmp_path_factory.mktemp("bench")) as running:
        yield running


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.RunningEngine]:
    """A container engine of this run's own."""
    with engines.running_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Path]:
    """Make a Truss with a model class of a few lines and no requirements."""

    def make(name: str, answer: str = "1", config: str = "") -> Path:
        folder = tmp_path / name
        (folder / "model").mkdir(parents=True)
        (folder / "config.yaml").write_text(f"model_name: {name}\npython_version: py311\n{config}")
        (folder / "model" / "model.py").write_text(
            f"class Model:\n    def predict(self, request):\n        return {{'predictions': [{answer}]}}\n"
        )
        return folder

    return make
