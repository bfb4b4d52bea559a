"""Package pipelines of spaCy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.errors import PackagingError
from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.contents import Contents
from truss.frameworks.pickles import reason_of
from truss.frameworks.precision import in_precision
from truss.frameworks.spacy.code import Outside, modules, outside_code, requirements
from truss.frameworks.spacy.contents import check_trained, contents, undeclared

_DIRECTORY = "model"

_TRIAL = (
    "Last Monday Ada Lovelace flew from London to Paris, with 3 friends and 2 dogs, to see the Eiffel Tower.",
    "Tea.",
    "It was cheap; was it good? Nobody knows.",
)

_TOLERANCE = 1e-4
"""Relative and absolute: rounding of scores in single precision, and no more."""


class SpacyFramework:
    """The adapter for spaCy, version 3.8 and later."""

    name = "spacy"
    model_framework = "spacy"
    summary = "spaCy pipelines: entities, categories, sentences, tokens, as their components find them"
    files = "folders that a pipeline of spaCy was saved to (config.cfg and meta.json)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is a pipeline, of whatever language."""
        return any(
            base.__name__ == "Language" and base.__module__ == "spacy.language"
            for base in type(model).__mro__
        )

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the pipeline to `model/` below `data_dir`, as spaCy does.

        Raises:
            PackagingError: a component is not trained or cannot be saved, or its code is in no file.
        """
        check_trained(model)
        code = outside_code(model)
        settings = _settings(model, code)
        notes = _notes(model, settings)
        reason = _reason_against_joining(model, settings)
        _write(model, data_dir / _DIRECTORY)
        return Saved(
            model_class=model_class_source(__package__),
            model_type=f"{model.lang}_{model.meta['name']}",
            model_metadata=settings,
            requirements=requirements(model),
            pickled_objects=tuple(used.item for used in code),
            batching="none" if reason else "rows",
            notes=(*notes, f"rows of concurrent requests are not joined: {reason}") if reason else notes,
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live pipeline answers, through the same steps as the packaged one.

        Scores come in single precision, in which spaCy computes.
        """
        live = _served(model, _settings(model, outside_code(model)))
        return in_precision(live.postprocess(live.predict(live.preprocess(request))), "float32")

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is a folder that `to_disk` wrote."""
        return contents.is_folder and {"config.cfg", "meta.json"} <= contents.names

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:  # noqa: ARG002 - no code is in it
        """The pipeline in the folder."""
        import spacy

        return spacy.load(contents.path)


def _settings(nlp: Any, code: tuple[Outside, ...]) -> dict[str, Any]:
    return {"model_binary_dir": _DIRECTORY, "modules": modules(code), **contents(nlp)}


def _served(nlp: Any, settings: dict[str, Any]) -> Any:
    """The model class as it will run, around the live pipeline."""
    from truss.frameworks.spacy.model_class import Model

    live = Model(data_dir=Path(), config={"model_metadata": settings}, secrets={})
    live.pipeline = nlp
    return live


def _write(nlp: Any, folder: Path) -> None:
    try:
        nlp.to_disk(folder)
    except OSError:
        raise
    except Exception as error:
        raise PackagingError(
            f"spaCy cannot save this pipeline: {reason_of(error)}",
            hint="see that its own `to_disk` works",
        ) from error


def _reason_against_joining(nlp: Any, settings: dict[str, Any]) -> str | None:
    """Why texts of several requests must not go through the pipeline together, found by trial.

    Raises:
        PackagingError: spaCy itself says that the pipeline cannot read texts.
    """
    served = _served(nlp, settings)
    try:
        joined = served.predict({"inputs": list(_TRIAL)})["predictions"]
        separate = [served.predict({"inputs": [text]})["predictions"][0] for text in _TRIAL]
    except Exception as error:  # noqa: BLE001 - a component of the user's may raise anything
        if str(error).startswith("[E"):  # how spaCy numbers its own errors
            raise PackagingError(
                f"this pipeline cannot read texts: {reason_of(error)}",
                hint="initialize or train it, or remove the component: `nlp.remove_pipe(name)`",
            ) from None
        return f"it could not be tried with some English sentences: {reason_of(error)}"
    same = _same(joined, separate)
    return None if same else "in a trial, texts were answered otherwise together than one by one"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(one == other)


def _notes(nlp: Any, settings: dict[str, Any]) -> tuple[str, ...]:
    names = undeclared(nlp)
    if not names:
        return ()
    return (
        f"the component {', '.join(names)} does not declare what it assigns; answers hold "
        f"{', '.join(settings['answer'])}: list more under model_metadata.answer, or declare it, "
        '`@Language.component("...", assigns=["doc.ents"])`',
    )


if TYPE_CHECKING:
    _fits: OpensFiles = SpacyFramework()
