"""`truss run-example`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from truss.cli.arguments import accepted, directory, json_output, server_url
from truss.cli.isolated import isolated, run_in_its_environment
from truss.cli.output import json_result, note, progress, reserved_stdout

if TYPE_CHECKING:
    from truss.model.examples import Example

_Ask = Callable[[Any], Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one example.

    Attributes:
        name: The example's name.
        answer: The model's answer, as JSON carries it.
        matches: Whether it is the expected answer; None when the example expects none.
        difference: What differs, or what was raised; None unless `matches` is False.
    """

    name: str
    answer: Any
    matches: bool | None
    difference: str | None = None


@click.command("run-example")
@directory
@click.option("--name", help="Only the example of that name.")
@click.option(
    "--check",
    is_flag=True,
    help="Replay them as tests: print no answers, go on after an error; fail without expected answers.",
)
@server_url
@isolated
@accepted("--local")
@json_output
def command(
    directory: Path, name: str | None, check: bool, url: str | None, isolated: bool, as_json: bool
) -> int:
    """Run the examples of a Truss and compare the answers.

    Prints one answer a line. Ends with 1 if an answer is not the expected one, within the precision of its
    number type; the difference is printed.
    """
    examples = _examples(directory, name)
    if isolated:
        run_in_its_environment(directory, ["run-example", directory, *_options(name, check, url, as_json)])
    outcomes = []
    with _asking(directory, url) as ask:
        for example in examples:
            outcomes.append(_checked(example, ask) if check else _run(example, ask))
            if not as_json:
                _print_outcome(outcomes[-1], check)
    failed = [outcome for outcome in outcomes if _failed(outcome, check)]
    if as_json:
        json_result(
            {
                "passed": len(outcomes) - len(failed),
                "failed": len(failed),
                "examples": [vars(one) for one in outcomes],
            }
        )
    else:
        note(_summary(outcomes, failed))
    return 1 if failed else 0


def _options(name: str | None, check: bool, url: str | None, as_json: bool) -> list[str]:
    """The options as words again."""
    return [
        *(["--name", name] if name is not None else []),
        *(["--url", url] if url is not None else []),
        *(["--check"] if check else []),
        *(["--json"] if as_json else []),
    ]


def _examples(truss_dir: Path, name: str | None) -> Sequence[Example]:
    """The examples to run.

    Raises:
        ExamplesError: the file is wrong, or holds no example of that name, or none at all.
    """
    from truss.config import read_config
    from truss.errors import ExamplesError
    from truss.model.examples import read_examples

    config = read_config(truss_dir)
    examples = read_examples(truss_dir, config)
    chosen = [example for example in examples if name is None or example.name == name]
    if not chosen:
        names = ", ".join(f"'{example.name}'" for example in examples)
        raise ExamplesError(
            f"there is no example named '{name}'" if examples else "there are no examples",
            where=str(truss_dir / config.examples_filename),
            hint=f"it has {names}"
            if names
            else "write some: - {name: NAME, input: REQUEST, expected: ANSWER}",
        )
    return chosen


@contextmanager
def _asking(truss_dir: Path, url: str | None) -> Iterator[_Ask]:
    """A function from request to answer, as JSON carries them: a server's, or the model's, loaded here."""
    if url is not None:
        from truss.cli.client import ask

        yield lambda request: json.loads(ask(url, json.dumps(request).encode()))
        return

    from truss.config import read_config
    from truss.model import load_model, to_plain

    with reserved_stdout(), progress("Loading the model"):
        loaded = load_model(truss_dir, read_config(truss_dir), isolated=False)

    def ask_model(request: Any) -> Any:
        with reserved_stdout():
            return to_plain(loaded.predict(request))

    try:
        yield ask_model
    finally:
        loaded.close()


def _checked(example: Example, ask: _Ask) -> Outcome:
    """The outcome, also of an example that the model or the server answers with an error."""
    from truss.errors import ModelError, RemoteRefusalError, RequestError

    try:
        return _run(example, ask)
    except (ModelError, RequestError, RemoteRefusalError) as error:
        return Outcome(example.name, None, matches=False, difference=f"it raised: {error.message}")


def _run(example: Example, ask: _Ask) -> Outcome:
    from truss.model.examples import MISSING

    answer = ask(example.input)
    if example.expected is MISSING:
        return Outcome(example.name, answer, matches=None)
    found = example.difference(answer)
    return Outcome(example.name, answer, matches=found is None, difference=found)


def _failed(outcome: Outcome, check: bool) -> bool:
    return outcome.matches is False or (check and outcome.matches is None)


def _print_outcome(outcome: Outcome, check: bool) -> None:
    note(f"{outcome.name}: {_verdict(outcome)}")
    if not check:
        json_result(outcome.answer)


def _verdict(outcome: Outcome) -> str:
    if outcome.matches is None:
        return "no expected answer"
    return "as expected" if outcome.matches else f"not as expected\n{outcome.difference}"


def _summary(outcomes: Sequence[Outcome], failed: Sequence[Outcome]) -> str:
    return f"{len(outcomes) - len(failed)} of {len(outcomes)} passed"
