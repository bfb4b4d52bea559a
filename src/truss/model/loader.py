"""Find, import, check and construct the model class of a Truss."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

from truss.config import TrussConfig, config_to_dict
from truss.errors import ModelDefinitionError, ModelLoadError
from truss.model.contract import contract_of
from truss.model.failure import describe, user_location
from truss.model.integrity import cause_in_data
from truss.model.isolation import ModuleSpace, Root
from truss.model.secrets import Secrets
from truss.model.steps import LoadedModel


@dataclass(frozen=True)
class ModelSource:
    """Where a Truss keeps its model class and the modules it may import."""

    truss_dir: Path
    config: TrussConfig

    @property
    def module_dir(self) -> Path:
        """The folder of the model class's module."""
        return self.truss_dir / self.config.model_module_dir

    @property
    def file(self) -> Path:
        """The file of the model class."""
        return self.module_dir / self.config.model_class_filename

    @property
    def module_name(self) -> str:
        """The name the model class's module is imported under, e.g. `model.model`."""
        stem = Path(self.config.model_class_filename).stem
        return stem if self._at_top else f"{self.module_dir.name}.{stem}"

    @property
    def data_dir(self) -> Path:
        """The folder of the model's files, given to the constructor as `data_dir`."""
        return self.truss_dir / self.config.data_dir

    @property
    def package_dirs(self) -> tuple[Path, ...]:
        """Bundled packages first, then external package folders (relative to the Truss)."""
        external = [self.truss_dir / folder for folder in self.config.external_package_dirs]
        return (self.truss_dir / self.config.bundled_packages_dir, *external)

    @property
    def _at_top(self) -> bool:
        return self.module_dir.resolve() == self.truss_dir.resolve()

    def module_space(self) -> ModuleSpace:
        """The modules of this Truss: its model package, then its package folders."""
        model_root = (
            Root(self.truss_dir, only=self.file.stem)
            if self._at_top
            else Root(self.module_dir.parent, only=self.module_dir.name)
        )
        packages = [Root(folder) for folder in self.package_dirs]
        return ModuleSpace([model_root, *packages], environment=self.config.environment_variables)


def load_model(
    truss_dir: Path,
    config: TrussConfig,
    *,
    isolated: bool = True,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> LoadedModel:
    """Import, construct and load the model class of a Truss.

    Args:
        truss_dir: The Truss.
        config: Its config.
        isolated: Keep its modules apart from the process's own, for processes that hold more than one
            Truss. False in a worker, which serves one Truss and nothing else: its modules are then
            plainly importable, and calls cost nothing extra.
        new_loop: Makes the event loop that async steps run on.

    Raises:
        ModelDefinitionError: the class cannot be found or imported, or lacks `predict`.
        ModelLoadError: its constructor or `load` raised.
        CorruptDataError: one of them did, and data files are not those that were packaged.
        WeightsError: files that the config names elsewhere cannot be fetched.
    """
    source = ModelSource(truss_dir.resolve(), config)
    _bring_weights(source)
    space = source.module_space()
    if not isolated:
        space.install()
    entered = space.entered if isolated else nullcontext
    with entered():
        model_class = import_model_class(source)
        try:
            model = constructed(model_class, source)
            loaded = LoadedModel(model, source.file, entered, new_loop, config.signature)
            loaded.load()
        except ModelLoadError as error:
            raise cause_in_data(source.truss_dir, error) from error.__cause__
    return loaded


def _bring_weights(source: ModelSource) -> None:
    """Fetch what the config names elsewhere and is not here: the module may want it when it is imported."""
    config = source.config
    if config.external_data or config.model_cache or config.weights:
        from truss.weights.place import bring

        bring(source.truss_dir, config, Secrets(config.secrets))


def check_model(truss_dir: Path, config: TrussConfig) -> None:
    """Import the model class and check its shape, without constructing it.

    Raises:
        ModelDefinitionError: the class cannot be found or imported, lacks `predict`, or names a type for
            requests that none can be read as.
    """
    source = ModelSource(truss_dir.resolve(), config)
    with source.module_space().entered():
        model_class = import_model_class(source)
        _constructor_arguments(model_class, source)
        _check_types(model_class)


def _check_types(model_class: type) -> None:
    first = "preprocess" if callable(getattr(model_class, "preprocess", None)) else "predict"
    if not callable(getattr(model_class, first, None)):  # it has `websocket` instead
        return
    if inspect.isfunction(inspect.getattr_static(model_class, first)):
        contract_of(MethodType(getattr(model_class, first), model_class))


def import_model_class(source: ModelSource) -> type:
    """Import the module and return the checked class. The module space must be in place."""
    if not source.file.is_file():
        raise ModelDefinitionError(
            "there is no model class file",
            where=str(source.file),
            hint="create it, or set `model_module_dir` and `model_class_filename` in config.yaml",
        )
    module = _import(source)
    name = source.config.model_class_name
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if _defined_in(value, module.__name__)]
        raise ModelDefinitionError(
            f"it defines no class named '{name}'",
            where=str(source.file),
            hint=f"name the class '{name}', or set `model_class_name`"
            + (f" (found: {', '.join(classes)})" if classes else ""),
        )
    talks = callable(getattr(found, "websocket", None))
    if talks:
        _check_websocket(found, source)
    if not talks and not callable(getattr(found, "predict", None)):
        raise ModelDefinitionError(
            f"class '{name}' has no method `predict`",
            where=_location(found, source.file),
            hint="add `def predict(self, request): ...`",
        )
    return found


def _check_websocket(found: type, source: ModelSource) -> None:
    where = _location(found, source.file)
    steps = [
        name for name in ("preprocess", "predict", "postprocess") if callable(getattr(found, name, None))
    ]
    if steps:
        raise ModelDefinitionError(
            f"class '{found.__name__}' has both `websocket` and `{steps[0]}`",
            where=where,
            hint="a model answers requests or websockets: make two of it",
        )
    if not inspect.iscoroutinefunction(found.websocket):  # type: ignore[attr-defined]  # the caller looked
        raise ModelDefinitionError(
            "`websocket` is no coroutine function",
            where=where,
            hint="write `async def websocket(self, websocket)`",
        )
    if importlib.util.find_spec("websockets") is None:
        raise ModelDefinitionError(
            "the model has `websocket`, and the package websockets is not installed",
            where=where,
            hint="pip install 'truss[websocket]'; for images, add websockets to the config's `requirements`",
        )


def _import(source: ModelSource) -> Any:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(source.module_name)
    except SyntaxError as error:
        raise ModelDefinitionError(
            f"syntax error: {error.msg}" + (f": {error.text.strip()}" if error.text else ""),
            where=f"{error.filename}:{error.lineno}",
            hint="correct the line",
        ) from error
    except ModuleNotFoundError as error:
        raise ModelDefinitionError(
            f"it imports '{error.name}', which is not installed here",
            where=user_location(error, source.truss_dir) or str(source.file),
            hint=_install_hint(source.config.requirements),
        ) from error
    except Exception as error:  # whatever the user's module raises is the user's to see
        raise ModelDefinitionError(
            f"importing it raised {describe(error)}",
            where=user_location(error, source.truss_dir) or str(source.file),
            hint="the module must import cleanly by itself: move work into `load`",
        ) from error


def _install_hint(requirements: tuple[str, ...] | list[str]) -> str:
    if not requirements:
        return "install it, and add it to `requirements` in config.yaml"
    return "install what the Truss needs: pip install " + " ".join(f"'{line}'" for line in requirements)


def _defined_in(value: object, module_name: str) -> bool:
    return isinstance(value, type) and value.__module__ == module_name


def _location(found: type, file: Path) -> str:
    try:
        return f"{file}:{inspect.getsourcelines(found)[1]}"
    except (OSError, TypeError):
        return str(file)


def constructed(model_class: type, source: ModelSource) -> Any:
    """An instance of the model class, which is given what its constructor names.

    Raises:
        ModelDefinitionError: the constructor requires something Truss does not offer.
        ModelLoadError: it raised.
    """
    arguments = _constructor_arguments(model_class, source)
    try:
        return model_class(**arguments)
    except Exception as error:
        raise ModelLoadError(
            f"the constructor of '{model_class.__name__}' raised {describe(error)}",
            where=user_location(error, source.truss_dir) or str(source.file),
            hint="TRUSS_DEBUG=1 shows the whole traceback",
        ) from error


def _constructor_arguments(model_class: type, source: ModelSource) -> dict[str, Any]:
    """The subset of what Truss offers that the constructor names, or all of it for `**kwargs`.

    Raises:
        ModelDefinitionError: the constructor requires something Truss does not offer.
    """
    parameters = inspect.signature(model_class).parameters.values()
    offered = _offered(source)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        wanted = offered
    else:
        wanted = {
            parameter.name: offered[parameter.name] for parameter in parameters if parameter.name in offered
        }
    missing = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and parameter.name not in wanted
    ]
    if missing:
        raise ModelDefinitionError(
            f"the constructor of '{model_class.__name__}' requires {', '.join(map(repr, missing))}",
            where=_location(model_class, source.file),
            hint=f"it may name {', '.join(offered)}, or take **kwargs; give other parameters defaults",
        )
    return wanted


def _offered(source: ModelSource) -> dict[str, Any]:
    environment = os.environ.get("TRUSS_ENVIRONMENT")
    return {
        "config": config_to_dict(source.config),
        "data_dir": source.data_dir,
        "secrets": Secrets(source.config.secrets),
        "environment": {"name": environment} if environment else None,
    }
