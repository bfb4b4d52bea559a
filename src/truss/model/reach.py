"""Whether an edit of a model class changes how it is loaded, told from the texts before and after."""

from __future__ import annotations

import ast
from collections.abc import Iterator

STEPS = ("__new__", "__init__", "load")
"""The methods that make an instance of a model class what it is."""


def loads_alike(before: str, after: str, class_name: str) -> bool:
    """Whether two texts of a module construct and load a class in the same way.

    All that these steps name, and what that names in turn, is compared: functions, methods, classes, and what
    is assigned or imported. A name stands for everything that is called so: a difference may be seen where
    there is none, and is overlooked only where names are put together as text.

    Args:
        before: The text of the module that was imported.
        after: The text it has now.
        class_name: The class.
    """
    try:
        old, new = ast.parse(before), ast.parse(after)
    except (SyntaxError, ValueError):
        return False
    return _reached(old, class_name) == _reached(new, class_name)


def _reached(module: ast.Module, class_name: str) -> list[str]:
    """What the steps lead to, without its place in the file."""
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in _statements(module, class_name):
        for name in _given(statement):
            definitions.setdefault(name, []).append(statement)
    head = _head(module, class_name)
    waiting, seen = [*STEPS, *_names(head)], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [found for node in definitions.get(name, ()) for found in _names(node)]
    reached = [ast.dump(node) for name in sorted(seen) for node in definitions.get(name, ())]
    return [ast.dump(head), *reached]


def _statements(module: ast.Module, class_name: str) -> Iterator[ast.stmt]:
    """The statements of a module; in place of the class, the statements of its body."""
    for statement in module.body:
        if isinstance(statement, ast.ClassDef) and statement.name == class_name:
            yield from statement.body
        else:
            yield statement


def _head(module: ast.Module, class_name: str) -> ast.AST:
    """What the class is made from, besides its body."""
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    parts = (part for node in classes for part in (*node.bases, *node.decorator_list))
    keywords = (keyword.value for node in classes for keyword in node.keywords)
    return ast.List([*parts, *keywords], ast.Load())


def _given(statement: ast.stmt) -> set[str]:
    """The names that a statement gives something to stand for."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    nodes = list(ast.walk(statement))
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return stored | {node.name for node in nodes if isinstance(node, defined)}


def _names(node: ast.AST) -> Iterator[str]:
    """The names that code uses, attributes included."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr
