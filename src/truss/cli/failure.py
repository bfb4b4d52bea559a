"""Errors, for a person or a script, and the exit codes they end with."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from truss.errors import ConfigError, TrussError

FAILED = 1
USAGE = 2
DEFECT = 70
INTERRUPTED = 130

DEBUG_VARIABLE = "TRUSS_DEBUG"
"""Set to anything but 0 or nothing, the whole traceback is printed before the message."""


def report(error: BaseException, words: Sequence[str]) -> int:
    """Say what went wrong and return the exit code.

    With `--json` among the words, the report is one JSON document on stdout; else a message on stderr.
    """
    if isinstance(error, SystemExit):  # click's completion scripts end with it
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return _reader_left()
    if not isinstance(error, click.ClickException) and _debugging():
        _print_traceback(error)
    description, status = describe(error)
    if wants_json(words):
        _print_json({"error": description})
    else:
        click.echo(_message(description), err=True)
    return status


def wants_json(words: Sequence[str]) -> bool:
    """Whether the call asks for JSON; looked up in the words because a call may fail before it is parsed."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options


def describe(error: BaseException) -> tuple[dict[str, Any], int]:
    """An error as a mapping (`type`, `message`, perhaps `where`, `hint`, `problems`), and its exit code."""
    if isinstance(error, TrussError):
        return _describe_truss_error(error), error.exit_code
    if isinstance(error, click.ClickException):
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "truss"
        message = error.format_message().rstrip(".")
        return {"type": "usage", "message": message, "hint": f"{command} --help"}, USAGE
    if isinstance(error, OSError) and error.filename is not None:
        return {"type": "file", "message": f"{error.filename}: {error.strerror}"}, FAILED
    return {
        "type": "internal",
        "message": f"internal error: {type(error).__name__}: {error}",
        "hint": f"this is a defect in Truss: report what the command prints with {DEBUG_VARIABLE}=1",
    }, DEFECT


def _describe_truss_error(error: TrussError) -> dict[str, Any]:
    description: dict[str, Any] = {"type": error.type, "message": error.message}
    if error.where:
        description["where"] = error.where
    if error.hint:
        description["hint"] = error.hint
    if isinstance(error, ConfigError):
        description["message"] = error.message.partition("\n")[0].rstrip(":")
        description["file"] = error.file
        description["problems"] = [vars(problem) for problem in error.problems]
        description["text"] = error.message
    return description


def _message(description: dict[str, Any]) -> str:
    place = f"{description['where']}: " if "where" in description else ""
    text = f"error: {place}{description.get('text') or description['message']}"
    return f"{text}\nhint: {description['hint']}" if "hint" in description else text


def _debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")


def _print_traceback(error: BaseException) -> None:
    import traceback

    click.echo("".join(traceback.format_exception(error)), err=True)


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, ensure_ascii=False))


def _reader_left() -> int:
    """The reader of stdout left (`truss ... | head`): end quietly, at the interpreter's last flush too."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    return FAILED
