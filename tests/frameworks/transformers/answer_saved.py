"""Load model classes that were saved, in a process that has neither Truss nor a network, and ask each.

Reads a JSON list of `{"name", "model_file", "data_dir", "config", "requests"}` from standard input, and
writes a JSON object of answers by name to standard output; a model that raises answers `{"error": "..."}`.
"""

import importlib.util
import json
import socket
import sys
from typing import Any


class NoTruss:
    """Refuses to import Truss."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "truss":
            raise ModuleNotFoundError(f"a model class must not import {name}")


def refuse(*_: object, **__: object) -> Any:
    raise ConnectionError("a model that was saved whole needs no network")


def main() -> None:
    sys.meta_path.insert(0, NoTruss())  # type: ignore[arg-type]
    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = refuse
    json.dump({task["name"]: answers(task) for task in json.load(sys.stdin)}, sys.stdout)


def answers(task: dict[str, Any]) -> Any:
    try:
        model = load(task)
        return [model.postprocess(model.predict(model.preprocess(request))) for request in task["requests"]]
    except Exception as error:  # noqa: BLE001 - the other models are still to be asked
        return {"error": f"{type(error).__name__}: {error}"}


def load(task: dict[str, Any]) -> Any:
    spec = importlib.util.spec_from_file_location("model", task["model_file"])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.Model(config=task["config"], data_dir=task["data_dir"], secrets={}, environment=None)
    model.load()
    return model


if __name__ == "__main__":
    main()
