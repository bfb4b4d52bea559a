"""`truss validate`."""

from __future__ import annotations

from pathlib import Path

import click

from truss.cli.arguments import directory, json_output
from truss.cli.output import json_result, note, progress, reserved_stdout, result


@click.command("validate")
@directory
@json_output
def command(directory: Path, as_json: bool) -> int:
    """Check a Truss without loading its model.

    Looks at every key of config.yaml, the examples, the files the config names, and the model class: that it
    can be imported and has `predict`. Prints all problems at once and ends with 1 if there is one; warnings
    do not count.
    """
    from truss.cli.checks import check

    with reserved_stdout(), progress("Importing the model class"):
        findings = check(directory)
    problems = [finding for finding in findings if finding.severity == "problem"]
    if as_json:
        json_result({"valid": not problems, "findings": [vars(finding) for finding in findings]})
    else:
        for finding in findings:
            result(str(finding))
        note(_summary(len(problems), len(findings) - len(problems)))
    return 1 if problems else 0


def _summary(problems: int, warnings: int) -> str:
    return f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
