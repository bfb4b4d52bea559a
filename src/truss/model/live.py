"""A loaded model whose code may be edited: it takes up changes, and keeps what is loaded where it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truss.config import TrussConfig
from truss.errors import ModelDefinitionError
from truss.model.loader import ModelSource, constructed, import_model_class, load_model
from truss.model.reach import loads_alike
from truss.model.steps import LoadedModel

_NOT_CODE = frozenset({"__pycache__", ".git", ".ipynb_checkpoints"})


def code_files(truss_dir: Path, config: TrussConfig) -> list[Path]:
    """The Python files of a Truss: those beside the model class, and those of its packages."""
    source = ModelSource(truss_dir, config)
    found = (file for folder in (source.module_dir, *source.package_dirs) for file in folder.rglob("*.py"))
    return sorted(
        {file for file in found if not _NOT_CODE & set(file.parts) and not file.name.startswith(".")}
    )


@dataclass(frozen=True)
class TakenUp:
    """What came of an edit.

    Attributes:
        files: The files that had changed, relative to the Truss; none: there was nothing to do.
        kept: Whether the loaded model was kept; else it was constructed and loaded anew.
    """

    files: tuple[str, ...]
    kept: bool


class LiveModel:
    """The model of a process that serves one Truss and nothing else.

    Args:
        truss_dir: The Truss.
        config: Its config.
        new_loop: Makes the event loop that async steps run on.

    Attributes:
        loaded: The model as it answers now.

    Raises:
        ModelDefinitionError, ModelLoadError: as `load_model`.
    """

    def __init__(
        self, truss_dir: Path, config: TrussConfig, new_loop: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        self._source = ModelSource(truss_dir.resolve(), config)
        self._space = self._source.module_space()
        self._texts = self._read()
        self.loaded = load_model(truss_dir, config, isolated=False, new_loop=new_loop)

    def take_up(self, check: Callable[[LoadedModel], None] = lambda _: None) -> TakenUp:
        """Import the code as it is now.

        The loaded model is kept, under its changed class, if only the file of the class has changed, and
        nothing in it that constructing and loading use. Else a new one is loaded, and then takes its place.

        Args:
            check: Looks at the model before it takes the other's place; what it raises keeps the old one.

        Raises:
            ModelDefinitionError, ModelLoadError: the changed code cannot be used; the old answers on.
        """
        texts = self._read()
        changed = tuple(sorted(n for n in {*texts, *self._texts} if texts.get(n) != self._texts.get(n)))
        if not changed:
            return TakenUp((), kept=True)
        with self._space.replaced():
            model_class = import_model_class(self._source)
            model = self._with_what_is_loaded(model_class) if self._loads_alike(changed, texts) else None
            kept = model is not None
            renewed = self.loaded.succeeded_by(
                constructed(model_class, self._source) if model is None else model
            )
            if renewed.steps.is_async is not self.loaded.steps.is_async:
                raise ModelDefinitionError(
                    "the model's steps have become coroutines, or no longer are",
                    where=str(self._source.file),
                    hint="start the server again",
                )
            if not kept:
                renewed.load()
            check(renewed)
        self.loaded, self._texts = renewed, texts
        return TakenUp(changed, kept)

    def _read(self) -> Mapping[str, bytes]:
        root = self._source.truss_dir
        files = code_files(root, self._source.config)
        return {
            str(file.relative_to(root) if file.is_relative_to(root) else file): _read(file) for file in files
        }

    def _loads_alike(self, changed: tuple[str, ...], texts: Mapping[str, bytes]) -> bool:
        name = str(self._source.file.relative_to(self._source.truss_dir))
        if changed != (name,) or name not in texts:
            return False
        before, after = (one[name].decode(errors="replace") for one in (self._texts, texts))
        return loads_alike(before, after, self._source.config.model_class_name)

    def _with_what_is_loaded(self, model_class: type) -> Any | None:
        """An instance of the changed class that shares what the loaded one holds; None where it cannot."""
        try:
            model: Any = object.__new__(model_class)
            object.__setattr__(model, "__dict__", self.loaded.model.__dict__)
        except (TypeError, AttributeError):  # slots, or a class that is not Python's own
            return None
        return model


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # removed while we looked
        return b""
