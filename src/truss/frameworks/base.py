"""What one ML library's adapter must offer, and what it hands back to packaging.

An adapter is packaging-time code: it recognises a live object, saves it whole, and names the model
class that will load it. The runtime imports no adapter; what runs in production is the model class
file that the adapter wrote into the Truss, which imports the ML library and nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from truss.config import Signature
from truss.frameworks.contents import Contents

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
        stated: Requirement lines that the model itself brings along, kept as they are; what they name is
            not pinned again.
        stated_if_needed: Lines that the model brings along and that may be more than it needs. One is kept
            where it names a distribution that is needed, or that such a one depends on; all are where code
            in a pickle may import anything.
        modules: Modules that the files name in a form that packaging does not read.
        python_version: The Python that the model must run on, e.g. `3.11`, where it states one; else that
            of this process.
        pickled_objects: Objects that were pickled by reference. Packaging follows the modules they
            name, pins what comes from distributions and copies what does not to `packages/`.
        pickle_files: Files below the data directory that hold plain pickle streams (cloudpickle's
            included), read for the same purpose.
        batching: Whether the runtime may join the rows of concurrent requests.
        spread_out: Whether one copy of the model takes all devices: then one worker serves it, and sees them.
        repeatable: Whether the same request is answered alike twice; false when answers are drawn at
            random, so that comparing the packaged copy's answer with the live object's means nothing.
            Where that depends on the request, as on a seed in it, a function that tells it of a request.
        signature: What the inputs of a request hold, as far as the object itself says it.
        notes: Lines worth telling the user, e.g. what was not kept.
    """

    model_class: str
    model_type: str = "Model"
    model_metadata: Mapping[str, Any] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()
    stated_if_needed: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    python_version: str | None = None
    pickled_objects: tuple[object, ...] = ()
    pickle_files: tuple[Path, ...] = ()
    batching: BatchingMode = "none"
    spread_out: bool = False
    repeatable: bool | Callable[[Any], bool] = True
    signature: Signature = field(default_factory=Signature)
    notes: tuple[str, ...] = ()

    def repeats(self, request: Any) -> bool:
        """Whether this request is answered alike each time."""
        return self.repeatable(request) if callable(self.repeatable) else self.repeatable


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


@runtime_checkable
class OpensFiles(Framework, Protocol):
    """What an adapter may offer besides: models given as files or folders, which people hand over by path.

    Files are told apart by their content, so that a name without its usual ending is no obstacle and a
    misleading one no trap.
    """

    @property
    def files(self) -> str:
        """One line for tables and messages: which files are opened, e.g. `XGBoost's .ubj and .json`."""

    def recognises_file(self, contents: Contents) -> bool:
        """Whether this adapter opens that file or folder; never imports the library.

        Raises:
            PackagingError: the file is this framework's, and is cut off or damaged.
        """

    def open_file(self, contents: Contents, *, trusted: bool) -> object:
        """The model in a file that is recognised, as an object that some framework packages.

        Args:
            contents: The file or folder.
            trusted: Whether code in it may run. Where that is needed and this is false, raise
                `truss.frameworks.contents.untrusted_error`.

        Raises:
            Exception: whatever the library raises about a damaged file; it is reported with the path.
        """
