"""The commands about a Truss with an example, run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from truss.cli import main

VALUE = "t0ken"
"""Of the secret, which nothing may say."""


def commands(
    folder: Path, config: str, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Make a Truss, and what runs `truss WORDS...` about it and gives what was said.

    Args:
        folder: Where the Truss is, and the user's own settings.
        config: Its config, with one secret, `api-key` or `api_key`.
        patch: Sets variables.
        capsys: Holds what is said.
    """
    patch.setenv("TRUSS_HOME", str(folder))
    patch.setenv("TRUSS_SECRET_api_key", VALUE)
    truss = folder / "iris"
    (truss / "model").mkdir(parents=True)
    (truss / "config.yaml").write_text(config)
    (truss / "model" / "model.py").write_text(
        "class Model:\n    def predict(self, request):\n        return {'predictions': ['iris']}\n"
    )

    def run(command: str, *words: str, ok: bool = True, expected: str = "iris") -> Any:
        example = f"- {{name: one, input: {{inputs: [iris]}}, expected: {{predictions: [{expected}]}}}}\n"
        (truss / "examples.yaml").write_text(example)
        status = main([command, str(truss), *words])
        ran = capsys.readouterr()
        assert (status == 0) is ok, ran.out + ran.err
        assert "Traceback" not in ran.err
        assert VALUE not in ran.out + ran.err
        return ran

    return run
