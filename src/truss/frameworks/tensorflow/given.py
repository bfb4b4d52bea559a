"""Tell what was handed over from its type alone, without importing TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["folder", "function", "concrete", "object"]

_FUNCTIONS = frozenset({"Function", "PolymorphicFunction"})
_CONCRETE = "ConcreteFunction"
# What `tf.Module` and loaded SavedModels derive from; so do layers of Keras, which are no models.
_TRACKED = "AutoTrackable"


@dataclass(frozen=True)
class SavedModelFolder:
    """A SavedModel as it lies in a folder.

    Attributes:
        path: The folder.
        loaded: What is in it.
    """

    path: Path
    loaded: Any


@dataclass(frozen=True)
class Given:
    """A model, and what was said of how it is called.

    Attributes:
        kind: What the model is.
        model: The model.
        choice: The name of the signature or function to serve; None when nothing was said.
        example: An example of the input; None when there is none.
    """

    kind: Kind
    model: Any
    choice: str | None = None
    example: Any = None


def kind_of(value: object) -> Kind | None:
    """What `value` is to TensorFlow; None when it is nothing that is served, or a class."""
    if isinstance(value, SavedModelFolder):
        return "folder"
    bases = [(base.__module__.partition(".")[0], base.__name__) for base in type(value).__mro__]
    if any(package == "keras" for package, _ in bases):
        return None
    names = {name for package, name in bases if package == "tensorflow"}
    if _CONCRETE in names:
        return "concrete"
    if names & _FUNCTIONS:
        return "function"
    return "object" if _TRACKED in names else None


def unpack(value: Any) -> Given | None:
    """The model in `value`: itself, or a tuple of it and an example or the name of what to serve."""
    if not isinstance(value, tuple):
        kind = kind_of(value)
        return None if kind is None else Given(kind, value)
    if len(value) != 2:
        return None
    model, said = value
    kind = kind_of(model)
    if kind is None:
        return None
    return Given(kind, model, choice=said) if isinstance(said, str) else Given(kind, model, example=said)
