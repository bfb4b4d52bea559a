"""A README for a Truss: what it is, and the commands that run it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from truss.config import TrussConfig
from truss.model.examples import MISSING, Example

_CHANGE = """\
`model/model.py` is plain Python: put what turns a client's request into the model's input into `preprocess`,
and what turns the model's output into the answer into `postprocess`. `config.yaml` says what the model needs.
`truss validate` checks both."""


def readme(name: str, config: TrussConfig, examples: Sequence[Example]) -> str:
    """The README's text.

    Args:
        name: The folder's name, used in commands.
        config: The Truss's config.
        examples: Its examples; the first one is used in the commands.
    """
    title = config.model_name or name
    request = examples[0].input if examples else {"inputs": []}
    parts = [
        f"# {title}",
        *([config.description] if config.description else []),
        f"A Truss: a `{config.model_framework}` model ({config.model_type}) with its code, data and needs.",
        "## Run it",
        _code("sh", ["pip install 'truss[runtime]'", *_install(name, config)]),
        "In this process, or over HTTP:",
        _code("sh", [f"truss predict {name} -d {_quoted(request)}", f"truss serve {name}"]),
        _code("sh", [f"curl http://127.0.0.1:8080/v1/models/model:predict -d {_quoted(request)}"]),
        "From Python:",
        _code("python", ["import truss", f'handle = truss.load("{name}")', f"handle.predict({request!r})"]),
        *_examples_part(name, examples),
        "## Change it",
        _CHANGE,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _install(name: str, config: TrussConfig) -> list[str]:
    if config.requirements_file is not None:
        return [f"pip install -r {shlex.quote(f'{name}/{config.requirements_file}')}"]
    # A line may be an option with its value (`--extra-index-url URL`), which are two words to a shell.
    words = [
        word for line in config.requirements for word in (line.split() if line.startswith("-") else [line])
    ]
    return ["pip install " + " ".join(map(shlex.quote, words))] if words else []


def _examples_part(name: str, examples: Sequence[Example]) -> list[str]:
    if not examples:
        return []
    rows = [
        f"- `{example.name}`: `{_short(example.input)}`"
        + ("" if example.expected is MISSING else f" → `{_short(example.expected)}`")
        for example in examples
    ]
    return ["## Examples", "\n".join(rows), _code("sh", [f"truss run-example {name} --check"])]


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _quoted(request: object) -> str:
    return shlex.quote(json.dumps(request, ensure_ascii=False))


def _code(language: str, lines: Sequence[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])
