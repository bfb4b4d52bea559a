"""What the documents of a pipeline hold, as its components declare it."""

from __future__ import annotations

from typing import Any

from truss.errors import PackagingError

_PARTS = {
    "doc.ents": "entities",
    "doc.cats": "categories",
    "doc.spans": "spans",
    "token.is_sent_start": "sentences",
}
_TOKEN_ATTRIBUTES = ("tag", "pos", "morph", "lemma", "dep", "head")
_EXTENSION = "doc._."


def contents(nlp: Any) -> dict[str, list[str]]:
    """The settings that say what an answer holds: see the model class.

    A pipeline that assigns nothing answers with its tokens, or with vectors where it has some.
    """
    assigned = _assigned(nlp)
    attributes = [name for name in _TOKEN_ATTRIBUTES if f"token.{name}" in assigned]
    extensions = sorted(name.removeprefix(_EXTENSION) for name in assigned if name.startswith(_EXTENSION))
    parts = [part for name, part in _PARTS.items() if name in assigned]
    parts += ["tokens"] if attributes else []
    parts += ["extensions"] if extensions else []
    if not parts:
        parts = ["vector"] if nlp.vocab.vectors_length else ["tokens"]
    return {"answer": parts, "token_attributes": attributes, "document_extensions": extensions}


def check_trained(nlp: Any) -> None:
    """Refuse a pipeline with a component that has no weights yet.

    Raises:
        PackagingError: it names the component.
    """
    for name, component in nlp.pipeline:
        model: Any = getattr(component, "model", None)
        layers = model.walk() if hasattr(model, "walk") else ()
        if any(layer.has_param(parameter) is None for layer in layers for parameter in layer.param_names):
            raise PackagingError(
                f"the component '{name}' of this pipeline is not trained",
                hint="train it, or remove it: `nlp.remove_pipe(name)`",
            )


def undeclared(nlp: Any) -> list[str]:
    """The names of components that are not spaCy's own and do not say what they assign."""
    return [
        name
        for name, component in nlp.pipeline
        if not nlp.get_pipe_meta(name).assigns and not _module_of(component).startswith("spacy.")
    ]


def _assigned(nlp: Any) -> set[str]:
    names = {name for pipe in nlp.pipe_names for name in nlp.get_pipe_meta(pipe).assigns}
    for _, component in nlp.pipeline:
        if type(component).__name__ == "AttributeRuler":  # declares nothing: its patterns tell
            names |= {f"token.{key.lower()}" for pattern in component.patterns for key in pattern["attrs"]}
    return names


def _module_of(component: Any) -> str:
    return str(getattr(component, "__module__", type(component).__module__))
