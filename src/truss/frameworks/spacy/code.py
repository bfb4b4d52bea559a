"""Find the code outside spaCy that reading a pipeline takes: components, and functions its config names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from truss.errors import PackagingError

_OWN = frozenset({"spacy", "spacy_legacy", "spacy_loggers", "thinc", "builtins", "functools"})

_OF_LANGUAGES = {
    "jieba": "jieba",
    "natto": "natto-py",
    "pymorphy2": "pymorphy2",
    "pymorphy3": "pymorphy3",
    "pythainlp": "pythainlp",
    "pyvi": "pyvi",
    "spacy_pkuseg": "spacy-pkuseg",
    "sudachipy": "sudachipy",
}
"""Modules that cut or inflect the words of some languages, and their distributions."""


@dataclass(frozen=True)
class Outside:
    """A function or class of another module than spaCy's, which `spacy.load` has to find.

    Attributes:
        item: The function or class.
        factory: The name under which spaCy makes components of it; None when it makes something else.
    """

    item: Any
    factory: str | None = None

    @property
    def module(self) -> str:
        """The module to import it from."""
        return str(self.item.__module__)


def outside_code(nlp: Any) -> tuple[Outside, ...]:
    """What a pipeline uses of other modules.

    Raises:
        PackagingError: something is defined in this process only.
    """
    found = tuple(used for used in (*_of_components(nlp), *_of_config(nlp)) if not _is_own(used))
    for used in found:
        if used.module in ("__main__", "__mp_main__"):
            raise PackagingError(
                f"the pipeline uses {used.item.__qualname__}, which is defined in this Python process only; "
                "the files name it, and do not hold it",
                hint="move it to a .py file, with its decorator, and import it: the file is copied",
            )
    return found


def modules(code: Iterable[Outside]) -> dict[str, list[str]]:
    """The modules to import before loading, each with the factories that it registers."""
    found: dict[str, set[str]] = {}
    for used in code:
        found.setdefault(used.module, set()).update({used.factory} if used.factory else ())
    return {module: sorted(factories) for module, factories in sorted(found.items())}


def requirements(nlp: Any) -> tuple[str, ...]:
    """The distributions that reading the pipeline takes, besides those that its own code comes from."""
    names = ["spacy"]
    if any(_has_torch(component) for _, component in nlp.components):
        names.append("torch")
    imported = (name for module, name in _OF_LANGUAGES.items() if module in sys.modules)
    names += imported if _tokenizer_is_special(nlp) else ()
    if "sudachipy" in names:
        names.append("sudachidict-core")
    return tuple(names)


def _of_components(nlp: Any) -> Iterator[Outside]:
    """What components are, and what makes them."""
    from spacy.util import registry

    for name, component in nlp.components:
        factory = nlp.get_pipe_meta(name).factory
        yield Outside(component if isinstance(component, FunctionType) else type(component), factory)
        for registered in (f"{nlp.lang}.{factory}", factory):  # a language may have one of its own
            if registry.has("factories", registered):
                yield Outside(registry.get("factories", registered), factory)
                break
    yield Outside(type(nlp))


def _of_config(nlp: Any) -> Iterator[Outside]:
    """The registered functions that a config names, as `@registry = "function"`, for what is loaded."""
    for section in ("nlp", "components"):
        yield from _named(nlp.config.get(section, {}))


def _named(section: Mapping[str, Any]) -> Iterator[Outside]:
    from spacy.util import registry

    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _named(value)
        elif key.startswith("@"):
            yield Outside(registry.get(key[1:], value))


def _is_own(used: Outside) -> bool:
    return used.module.partition(".")[0] in _OWN


def _has_torch(component: Any) -> bool:
    model: Any = getattr(component, "model", None)
    return hasattr(model, "walk") and any(
        type(shim).__name__.startswith("PyTorch") for layer in model.walk() for shim in layer.shims
    )


def _tokenizer_is_special(nlp: Any) -> bool:
    """Whether words are cut, or inflected, by a library of their own."""
    parts = [nlp.tokenizer, *(component for _, component in nlp.components)]
    return any(type(part).__module__.startswith("spacy.lang.") for part in parts)
