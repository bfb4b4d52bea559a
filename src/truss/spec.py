"""What a Truss says of itself, read-only: paths, settings and contents in one object."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from truss.config import TrussConfig, config_to_dict, read_config
from truss.model import ModelSource
from truss.model.examples import Example, read_examples
from truss.packaging import layout
from truss.packaging.create import read_requirements


@dataclass(frozen=True)
class TrussSpec:
    """The facts of a Truss at the time it was read. Names follow the original's 2022 interface.

    Attributes:
        truss_dir: The folder.
        config: Its config.
    """

    truss_dir: Path
    config: TrussConfig

    @classmethod
    def read(cls, truss_dir: Path) -> TrussSpec:
        """The facts of the Truss in a folder.

        Raises:
            NotATrussError, ConfigError: the folder or its config is not right.
        """
        return cls(truss_dir, read_config(truss_dir))

    @property
    def _source(self) -> ModelSource:
        return ModelSource(self.truss_dir, self.config)

    @property
    def config_path(self) -> Path:
        """`config.yaml`."""
        return self.truss_dir / "config.yaml"

    @property
    def yaml_string(self) -> str:
        """The text of the config file."""
        return self.config_path.read_text(encoding="utf-8")

    @property
    def json_string(self) -> str:
        """The whole config, defaults included, as JSON."""
        return json.dumps(config_to_dict(self.config), indent=2)

    @property
    def data_dir(self) -> Path:
        """The folder of the model's files."""
        return self._source.data_dir

    @property
    def model_module_dir(self) -> Path:
        """The folder of the model class."""
        return self._source.module_dir

    @property
    def model_module_name(self) -> str:
        """The model class's module without its package, e.g. `model`."""
        return self.model_module_fullname.rpartition(".")[2]

    @property
    def model_module_fullname(self) -> str:
        """The name the model class's module is imported under, e.g. `model.model`."""
        return self._source.module_name

    @property
    def model_class_filepath(self) -> Path:
        """The file of the model class."""
        return self._source.file

    @property
    def model_class_name(self) -> str:
        """The name of the model class."""
        return self.config.model_class_name

    @property
    def bundled_packages_dir(self) -> Path:
        """The folder of packages shipped along."""
        return self.truss_dir / self.config.bundled_packages_dir

    @property
    def model_framework_name(self) -> str:
        """What the model was made with, e.g. `sklearn`."""
        return self.config.model_framework

    model_framework_type = model_framework_name

    @property
    def python_version(self) -> str | None:
        """The Python version, as the config has it."""
        return self.config.python_version

    @property
    def cpu(self) -> str:
        """CPUs needed."""
        return self.config.resources.cpu

    @property
    def memory(self) -> str:
        """Memory needed."""
        return self.config.resources.memory

    @property
    def use_gpu(self) -> bool:
        """Whether a GPU is needed."""
        return self.config.resources.use_gpu or self.config.resources.accelerator is not None

    @cached_property
    def requirements(self) -> list[str]:
        """Python requirements, one a line, from the config or the file it names."""
        if self.config.requirements_file is None:
            return list(self.config.requirements)
        return read_requirements(self.truss_dir / self.config.requirements_file)

    @property
    def requirements_txt(self) -> str:
        """The requirements as the text of a requirements file."""
        return "\n".join(self.requirements)

    @property
    def system_packages(self) -> list[str]:
        """Debian packages."""
        return list(self.config.system_packages)

    @property
    def system_packages_txt(self) -> str:
        """Debian packages, one a line."""
        return "\n".join(self.system_packages)

    @property
    def environment_variables(self) -> dict[str, str]:
        """Environment variables of the model."""
        return dict(self.config.environment_variables)

    @property
    def secrets(self) -> dict[str, str | None]:
        """Declared secrets with their defaults (never their values)."""
        return dict(self.config.secrets)

    @property
    def description(self) -> str | None:
        """What the model does."""
        return self.config.description

    @property
    def examples_path(self) -> Path:
        """The file of examples."""
        return self.truss_dir / self.config.examples_filename

    @property
    def examples(self) -> list[Example]:
        """The examples, as the file has them now."""
        return read_examples(self.truss_dir, self.config)

    def summary(self) -> dict[str, str]:
        """What a reader wants to know first, in words: empty facts are left out."""
        examples = self.examples
        facts = {
            "name": self.config.model_name or "",
            "model": f"{self.config.model_framework} ({self.config.model_type})",
            "folder": str(self.truss_dir),
            "size": _readable(layout.size_of(self.truss_dir)),
            "requirements": ", ".join(self.requirements) or "none",
            "examples": ", ".join(example.name for example in examples),
            "ask it": f"predict(example({examples[0].name!r}).input)" if examples else "predict(...)",
            "serve it": f"truss serve {shlex.quote(str(self.truss_dir))}",
        }
        return {name: value for name, value in facts.items() if value}


def _readable(size: int) -> str:
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
