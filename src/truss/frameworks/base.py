"""What one ML library's adapter must offer, and what it hands back to packaging.

An adapter is packaging-time code: it recognises a live object, saves it whole, and names the model
class that will load it. The runtime imports no adapter; what runs in production is the model class
file that the adapter wrote into the Truss, which imports the ML library and nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Protocol

BatchingMode = Literal["none", "rows"]
"""How requests may be joined: `rows` only where joined rows give exactly the separate answers."""


def model_class_source(package: str, name: str = "model_class.py") -> str:
    """The text of a model class file that lies in an adapter's package: what `Saved.model_class` takes."""
    return files(package).joinpath(name).read_text("utf-8")


@dataclass(frozen=True)
class Saved:
    """What an adapter made of an object.

    Attributes:
        model_class: Source text of `model/model.py`. Plain code that imports the ML library only.
        model_type: The subtype written to the config (`model_type`), e.g. a transformers task.
        model_metadata: Free-form facts the model class reads from `config["model_metadata"]`.
        requirements: Distributions that the framework needs to load the files, by name, unpinned;
            packaging pins each to the version installed here.
        pickled_objects: Objects that were pickled by reference. Packaging follows the modules they
            name, pins what comes from distributions and copies what does not to `packages/`.
        pickle_files: Files below the data directory that hold plain pickle streams (cloudpickle's
            included), read for the same purpose.
        batching: Whether the runtime may join the rows of concurrent requests.
        repeatable: Whether the same request is answered alike twice; false when answers are drawn at
            random, so that comparing the packaged copy's answer with the live object's means nothing.
        notes: Lines worth telling the user, e.g. what was not kept.
    """

    model_class: str
    model_type: str = "Model"
    model_metadata: Mapping[str, Any] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    pickled_objects: tuple[object, ...] = ()
    pickle_files: tuple[Path, ...] = ()
    batching: BatchingMode = "none"
    repeatable: bool = True
    notes: tuple[str, ...] = ()


class Framework(Protocol):
    """One ML library's adapter. Its module imports the library inside functions only."""

    @property
    def name(self) -> str:
        """The framework's name in the registry and on the command line, e.g. `sklearn`."""

    @property
    def model_framework(self) -> str:
        """The value written to the config's `model_framework`, e.g. `huggingface_transformer`."""

    @property
    def summary(self) -> str:
        """One line for tables and messages: which objects are recognised."""

    def recognises(self, model: object) -> bool:
        """Whether this adapter packages `model`.

        Never imports the library: an object of a library that is not imported yet cannot exist, so
        looking at the object's own type is enough.
        """

    def save(self, model: object, data_dir: Path) -> Saved:
        """Write `model` whole below `data_dir` (an existing, empty folder of the new Truss).

        Raises:
            PackagingError: the object cannot be saved; the message says which part and why.
            MissingExtraError: a package that saving needs is not installed.
        """

    def answer(self, model: object, request: Any) -> Any:
        """What the live object answers to `request`, in the shape the model class answers in.

        Packaging compares it with the packaged copy's answer.
        """
