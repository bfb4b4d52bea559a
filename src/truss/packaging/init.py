"""Write a Truss to fill in by hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from truss.config import read_config, set_value
from truss.model.examples import Example, write_examples
from truss.packaging import layout
from truss.packaging.create import read_requirements

PathText = str | PathLike[str]

STARTER_CONFIG = """\
# What this Truss is, needs, and how it is served. Every key is optional.
model_name: null
description: null
python_version: {python_version}

# Python packages, as lines of a requirements file, e.g. scikit-learn==1.5.2
requirements: []

# Debian packages, e.g. ffmpeg
system_packages: []

# Secrets that the model needs, by name, with a harmless default; real values never go here.
secrets: {{}}

resources:
  cpu: "1"
  memory: 2Gi
  # accelerator: A100        # a GPU, or several: A100:2

# runtime:
#   batching: {{mode: rows}}   # when `predict` answers each entry of `inputs` by itself
"""

STARTER_MODEL = '''\
"""The model class: what is loaded once, and what answers each request."""

from pathlib import Path
from typing import Any


class Model:
    """Answers `{"inputs": [...]}` with `{"predictions": [...]}`."""

    def __init__(self, **kwargs: Any) -> None:
        """Keep what is needed of `config`, `data_dir`, `secrets` and `environment`; load nothing yet."""
        self._data_dir = Path(kwargs["data_dir"])
        self._model: Any = None

    def load(self) -> None:
        """Load the model; called once, before the first request. Its files are below the data folder."""
        # self._model = joblib.load(self._data_dir / "model.joblib")

    def preprocess(self, request: Any) -> Any:
        """Turn what the client sends into what `predict` takes."""
        return request

    def predict(self, request: Any) -> Any:
        """Answer a request."""
        inputs = request["inputs"]
        return {"predictions": inputs}

    def postprocess(self, response: Any) -> Any:
        """Turn what `predict` returns into what the client gets."""
        return response
'''


def init_truss(
    target_directory: PathText,
    *,
    name: str | None = None,
    data_files: Sequence[PathText] | None = None,
    requirements_file: PathText | None = None,
    bundled_packages: Sequence[PathText] | None = None,
) -> Path:
    """Write a Truss with a model class to fill in. See `truss.init`, which takes and raises the same.

    Returns:
        The new folder, absolute.
    """
    target = Path(target_directory).expanduser().absolute()
    layout.check_target(target, overwrite=False)
    data = [path for pattern in data_files or () for path in layout.matching(pattern, "data file")]
    packages = [path for pattern in bundled_packages or () for path in layout.matching(pattern, "package")]
    lines = None if requirements_file is None else read_requirements(requirements_file)
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    with layout.built_beside(target) as folder:
        (folder / "config.yaml").write_text(STARTER_CONFIG.format(python_version=version), encoding="utf-8")
        (folder / "model").mkdir()
        (folder / "model" / "__init__.py").touch()
        (folder / "model" / "model.py").write_text(STARTER_MODEL, encoding="utf-8")
        for part in ("data", "packages"):  # Git keeps no empty folders
            (folder / part).mkdir()
            (folder / part / ".gitkeep").touch()
        if name is not None:
            set_value(folder, "model_name", name)
        if lines is not None:
            set_value(folder, "requirements", lines)
        layout.copy_into(data, folder / "data")
        layout.copy_into(packages, folder / "packages")
        example = Example("example-1", {"inputs": [1, 2]}, {"predictions": [1, 2]})
        write_examples(folder, read_config(folder), [example])
        layout.write_git_files(folder, folder / "data")
    return target
