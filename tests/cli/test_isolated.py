"""`--isolated`: a command in the Truss's own environment."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from truss.cli.isolated import entering
from truss.testing.server import running_server

WHERE_MODEL = """
    import sys
    from importlib.util import find_spec

    import iniconfig

    class Model:
        def predict(self, request):
            present = [name for name in request["inputs"] if find_spec(name) is not None]
            return {"predictions": present, "prefix": sys.prefix}
"""

EXAMPLES = """
- name: what is there
  input: {inputs: [iniconfig, pytest, uvicorn]}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache for all: the environment is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def stranger(make_truss):
    """A Truss whose requirement is all it has."""
    return make_truss(WHERE_MODEL, "requirements: [iniconfig==2.0.0]", EXAMPLES)


@pytest.mark.network
def test_serve_runs_in_an_environment_of_its_own(stranger, cache):
    environment = {**os.environ, "TRUSS_CACHE_DIR": str(cache)}
    with running_server(stranger, "--isolated", environment=environment) as server:
        answer = server.predict({"inputs": ["iniconfig", "pytest", "uvicorn"]}).json()
        assert answer["predictions"] == ["iniconfig", "uvicorn"]
        assert Path(answer["prefix"]).is_relative_to(cache)
        assert server.stop() == 0


@pytest.mark.network
def test_serve_hands_its_options_on(stranger, cache):
    environment = {**os.environ, "TRUSS_CACHE_DIR": str(cache)}
    with running_server(stranger, "--isolated", "--workers", "2", environment=environment) as server:
        metrics = server.request("GET", "/metrics").body.decode()
        states = re.findall(r"^truss_workers\{.*\} (\d+)", metrics, re.MULTILINE)
        assert sum(map(int, states)) == 2


@pytest.mark.network
def test_run_example_runs_in_it_too(truss, stranger, cache):
    words = ["run-example", stranger, "--isolated", "--name", "what is there", "--json"]
    ran = truss(*words, environment={"TRUSS_CACHE_DIR": str(cache)})
    assert ran.code == 0, ran.err
    (example,) = ran.json()["examples"]
    assert example["answer"]["predictions"] == ["iniconfig", "uvicorn"]
    checked = truss(*words, "--check", environment={"TRUSS_CACHE_DIR": str(cache)})
    assert checked.code == 1, "an example without an expected answer fails a check"


@pytest.mark.network
@pytest.mark.parametrize("command", ["serve", "run-example"])
def test_what_cannot_be_met_is_said_before_anything_starts(truss, make_truss, tmp_path, command):
    folder = make_truss(WHERE_MODEL, "requirements: [iniconfig==99.0]", EXAMPLES)
    ran = truss(command, folder, "--isolated", environment={"TRUSS_CACHE_DIR": str(tmp_path / "cache")})
    assert (ran.code, ran.out) == (1, "")
    assert "the requirements cannot be met" in ran.err
    assert "iniconfig==99.0" in ran.err
    assert "hint: " in ran.err
    assert "serving on" not in ran.err
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.network
def test_a_python_that_is_not_to_be_had(truss, make_truss, tmp_path):
    folder = make_truss(WHERE_MODEL, "python_version: py314\nrequirements: [iniconfig==2.0.0]")
    ran = truss(
        "serve",
        folder,
        "--isolated",
        environment={"TRUSS_CACHE_DIR": str(tmp_path / "cache"), "UV_PYTHON_DOWNLOADS": "never"},
    )
    assert (ran.code, ran.out) == (1, "")
    assert "3.14" in ran.err


def test_a_folder_without_config_is_refused(truss, tmp_path):
    ran = truss("serve", tmp_path, "--isolated")
    assert (ran.code, ran.out) == (2, "")
    assert "config.yaml" in ran.err


def test_nothing_of_the_environment_that_is_left_reaches_the_one_that_is_entered(tmp_path):
    entered = entering(
        tmp_path, {"PYTHONPATH": "/mine", "VIRTUAL_ENV": "/old", "PATH": "/bin", "TRUSS_SECRET_A": "b"}
    )
    assert entered == {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}/bin",
        "VIRTUAL_ENV": str(tmp_path),
        "PYTHONSAFEPATH": "1",
        "TRUSS_SECRET_A": "b",
    }
