"""The Python in the guides runs, and each comment below an expression is what the expression gives."""

import ast
import re
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


GUIDES_THAT_RUN = [
    "sklearn.md",
    "callable.md",
    "packaging.md",
    "handle.md",
    "xgboost.md",
    "lightgbm.md",
    "catboost.md",
    "keras.md",
    "onnx.md",
    "statsmodels.md",
]


@pytest.mark.parametrize("guide", GUIDES_THAT_RUN)
def test_the_guide_runs(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A reader's code lives in a notebook or script, whose module is called this.
    scope: dict[str, object] = {"__name__": "__main__"}
    # What follows there needs an engine: tests/build runs it.
    text, _, _ = (GUIDES / guide).read_text("utf-8").partition("## In a container\n")
    blocks = BLOCK.findall(text)
    assert sum([run(block, scope) for block in blocks]) > 0


def run(block: str, scope: dict[str, object]) -> int:
    """Run a block statement by statement; gives how many results were compared."""
    lines, compared = block.splitlines(), 0
    for statement in ast.parse(block).body:
        if not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), "guide", "exec"), scope)
            continue
        value = eval(compile(ast.Expression(statement.value), "guide", "eval"), scope)
        below = lines[statement.end_lineno] if statement.end_lineno < len(lines) else ""
        if below.startswith("# "):
            assert repr(value) == below.removeprefix("# ")
            compared += 1
    return compared
