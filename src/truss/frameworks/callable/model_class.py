"""Serves a Python function: it is called with the whole request, and what it returns is the answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cloudpickle


class Model:
    """The function, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._path = Path(kwargs["data_dir"]) / "model" / "function.cloudpickle"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.function: Any = None

    def load(self) -> None:
        """Read the function from its file; called once, before the first request."""
        self._check_python()
        with self._path.open("rb") as file:
            self.function = cloudpickle.load(file)

    def preprocess(self, request: Any) -> Any:
        """Change the request before the function sees it: add your own logic here."""
        return request

    def predict(self, request: Any) -> Any:
        """Answer with what the function returns; what a generator yields is streamed."""
        return self.function(request)

    def postprocess(self, answer: Any) -> Any:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _check_python(self) -> None:
        """Code that was saved by value is bytecode, which only the Python version that wrote it can run."""
        saved_with = self._metadata.get("code_python_version")
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        if saved_with not in (None, running):
            raise RuntimeError(
                f"this function was saved by Python {saved_with} and cannot run on Python {running}: "
                f"serve it with Python {saved_with}, or package it again with Python {running}"
            )
