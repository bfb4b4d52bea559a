"""Errors as a person reads them and as a script reads them; and the ways a process may end."""

import json
import os
import signal
import subprocess
import sys

import pytest

from truss.cli.failure import describe, wants_json
from truss.errors import ConfigError, ConfigProblem, NotATrussError, PredictionError, TrussError


def start(*words, **streams):
    command = [sys.executable, "-m", "truss.cli", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **streams)


@pytest.mark.parametrize("kind", [NotATrussError, PredictionError])
def test_the_exit_code_is_the_errors_own(kind):
    assert describe(kind("no", where="here", hint="do"))[1] == kind.exit_code


def test_a_truss_error_is_described_by_its_parts():
    description, _ = describe(NotATrussError("there is no config", where="my_model", hint="truss init"))
    assert description == {
        "type": "not_a_truss",
        "message": "there is no config",
        "where": "my_model",
        "hint": "truss init",
    }


def test_a_config_error_carries_its_problems():
    problems = [
        ConfigProblem(3, "resources.cpu", "is 'lots'", "a number", "write 2"),
        ConfigProblem(5, "x", "?"),
    ]
    description, code = describe(ConfigError("config.yaml", problems))
    assert code == 2
    assert [problem["line"] for problem in description["problems"]] == [3, 5]
    assert "config.yaml:3: resources.cpu" in description["text"]


def test_json_is_looked_for_before_the_dashes():
    assert wants_json(["validate", "--json"])
    assert not wants_json(["validate", "--", "--json"])


def test_errors_are_json_when_asked_for(truss, tmp_path):
    ran = truss("validate", tmp_path, "--json")
    assert ran.code == 2
    assert ran.json()["error"]["type"] == "not_a_truss"
    assert ran.err == ""


def test_usage_errors_are_json_too(truss):
    ran = truss("validate", "--jon", "--json")
    assert ran.code == 2
    assert ran.json()["error"]["type"] == "usage"


def test_debug_shows_the_traceback_before_the_message(truss, tmp_path):
    ran = truss("predict", tmp_path, "-d", "{}", environment={"TRUSS_DEBUG": "1"})
    assert ran.err.startswith("Traceback")
    assert "\nerror: " in ran.err


def test_a_missing_file_is_named(truss, make_truss, tmp_path):
    ran = truss("predict", make_truss(), "-f", tmp_path / "absent.json")
    assert ran.code == 2
    assert "absent.json" in ran.err
    assert "Traceback" not in ran.err


def test_a_defect_is_one_line_and_says_how_to_see_more(monkeypatch, capsys):
    from truss.cli import main
    from truss.cli.group import truss as root

    def broken(*_, **__):
        raise ZeroDivisionError("a defect")

    monkeypatch.delenv("TRUSS_DEBUG", raising=False)
    monkeypatch.setattr(root, "main", broken)
    assert main(["version"]) == 70
    message = capsys.readouterr().err
    assert message.startswith("error: internal error: ZeroDivisionError: a defect\nhint: ")
    assert "TRUSS_DEBUG=1" in message


def test_a_reader_that_leaves_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    process = start("--help", stdout=writer)
    os.close(writer)
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 1


def test_interrupted(make_truss):
    process = start("predict", make_truss(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    # It has handled what it was given before the signal once it has read it: it waits for the rest of stdin.
    process.stdin.write(b'{"inputs"' + b" " * 100_000)
    process.stdin.flush()  # returns when the pipe's 64 KiB have been drained, so the command is reading
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err.strip()) == (b"", b"interrupted")
    assert process.returncode == 130


def test_messages_fit_json(truss, tmp_path):
    ran = truss("predict", tmp_path / "späth", "-d", "{}", "--json")
    assert "späth" in json.loads(ran.out)["error"]["message"] + json.loads(ran.out)["error"].get("where", "")


def test_root_error_is_reported_as_its_kind():
    assert describe(TrussError("x")) == ({"type": "internal", "message": "x"}, 1)
