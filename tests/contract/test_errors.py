"""One exception tree, in one module, drawn as it is."""

from __future__ import annotations

import ast
import builtins
import inspect
import pickle
import re
from pathlib import Path
from typing import TypeGuard

import pytest

from truss import errors
from truss.errors import TrussError

SOURCE = Path(errors.__file__).parent
CLASSES: dict[str, type[TrussError]] = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, TrussError)
}


def _drawn_tree() -> dict[str, str]:
    """Class -> parent, as the module's docstring draws it."""
    parents: list[str] = []
    drawn: dict[str, str] = {}
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        match = re.match(r"^    ((?:[│ ]   )*)(?:[├└]── )?(\w+Error)\b", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + ("── " in line)
        del parents[depth:]
        drawn[match[2]] = parents[-1] if parents else "Exception"
        parents.append(match[2])
    return drawn


def test_the_drawn_tree_is_the_tree() -> None:
    assert _drawn_tree() == {name: value.__bases__[0].__name__ for name, value in CLASSES.items()}


def test_there_is_one_root() -> None:
    ours = [value for value in vars(errors).values() if _is_exception(value)]
    assert [value for value in ours if not issubclass(value.__bases__[0], TrussError)] == [TrussError]


def _is_exception(value: object) -> TypeGuard[type[BaseException]]:
    return isinstance(value, type) and issubclass(value, BaseException)


def test_no_other_module_defines_an_exception() -> None:
    known = {*CLASSES, *(name for name, value in vars(builtins).items() if _is_exception(value))}
    elsewhere = [
        f"{path}:{node.lineno} class {node.name}"
        for path in SOURCE.rglob("*.py")
        if path.name != "errors.py" and "model_class" not in path.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        # Not an error: what ends a model's reading, by the name that models catch.
        and node.name != "WebSocketDisconnect"
        and any(ast.unparse(base).rpartition(".")[2] in known for base in node.bases)
    ]
    assert not elsewhere


def test_types_are_distinct_names_for_machines() -> None:
    types = [value.type for value in CLASSES.values()]
    assert sorted(types) == sorted(set(types))
    assert all(re.fullmatch(r"[a-z_]+", one) for one in types)


def test_exit_codes_are_the_documented_ones() -> None:
    assert {value.exit_code for value in CLASSES.values()} <= {1, 2}


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_every_error_is_explained_and_survives_pickling(kind: type[TrussError]) -> None:
    assert inspect.getdoc(kind)
    assert "__doc__" in vars(kind), "an inherited docstring explains the parent"
    error = kind.__new__(kind)
    TrussError.__init__(error, "what happened", where="here", hint="do this")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "here: what happened\nhint: do this"
