"""The printed scripts, and what a shell that sourced them gets."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(truss, shell):
    ran = truss("completion", shell)
    assert ran.code == 0
    assert f"_TRUSS_COMPLETE={shell}_complete" in ran.out


def test_another_shell(truss):
    ran = truss("completion", "cmd.exe")
    assert ran.code == 2
    assert "bash" in ran.err


def complete(shell, words):
    script = Path(sys.executable).with_name("truss")
    environment = {
        **os.environ,
        "_TRUSS_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    ended = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout.split()


def test_commands_complete():
    assert complete("bash", ["truss", "ser"]) == ["plain,serve"]


def test_options_of_a_command_complete():
    assert complete("bash", ["truss", "serve", "--wo"]) == ["plain,--workers"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_takes_the_script(truss):
    ended = subprocess.run(["bash", "-n"], input=truss("completion", "bash").out, text=True, check=False)
    assert ended.returncode == 0
