"""Secrets on this machine: all of them or none, and nothing left behind, whenever writing them breaks off."""

import os
import subprocess
import sys

import pytest

from truss.deploy.secret_folder import SecretFolder

BREAKS = """
import os, sys
from pathlib import Path
from truss.deploy.secret_folder import SecretFolder

def end(event, arguments):
    # As a kill would, just before the operation of that number which changes files.
    if event in ("os.mkdir", "os.chmod", "os.rename", "os.remove", "os.rmdir") or (
        event == "open" and arguments[1] == "w"
    ):
        global left
        left -= 1
        if left < 0:
            os._exit(9)

left = int(sys.argv[1])
sys.addaudithook(end)
SecretFolder("compose", "iris").write({"one": "first", "two": "second"})
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path))
    return SecretFolder("compose", "iris")


def test_values_are_held_as_they_are_and_no_others(folder):
    assert folder.read() is None
    folder.write({"one": "first", "two": "second\n"})
    folder.write({"two": "2"})
    assert folder.read() == {"two": "2"}
    assert folder.file("two").stat().st_mode & 0o777 == 0o444
    assert folder.path.parent.stat().st_mode & 0o077 == 0
    folder.remove()
    folder.remove()
    assert folder.read() is None


@pytest.mark.parametrize("before", [None, {"one": "old"}])
def test_what_broke_off_is_whole_or_seen_and_can_be_removed(folder, before, tmp_path):
    for step in range(30):
        folder.remove()
        if before is not None:
            folder.write(before)
        words = [sys.executable, "-c", BREAKS, str(step)]
        done = subprocess.run(words, env={**os.environ, "TRUSS_HOME": str(tmp_path)}, check=False)
        found = folder.read()
        assert found in (None, {}, before, {"one": "first", "two": "second"})
        holding = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert found is not None or not holding, "values are there that nobody would remove"
        if done.returncode == 0:
            assert found == {"one": "first", "two": "second"}
            break
        folder.write({"three": "third"})
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["three"]
        folder.remove()
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    else:
        pytest.fail("it never came to its end")
    assert step > 4
