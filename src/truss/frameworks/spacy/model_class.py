"""Reads texts with a pipeline of spaCy, from the files beside it.

A request is `{"inputs": ["a text", ...]}`; the answer is `{"predictions": [{...}, ...]}`, one entry per text.
What an entry holds, `answer` in the config's `model_metadata` says; edit it as you like:

- `entities`: `[{"text", "label", "start", "end"}, ...]`; `start` and `end` count characters, here and below.
- `categories`: `{label: score, ...}`.
- `spans`: `{group: [{"text", "label", "start", "end"}, ...], ...}`.
- `sentences`: `[{"text", "start", "end"}, ...]`.
- `tokens`: `[{"text", "start", "end", ...}, ...]`, each with what `token_attributes` lists, of `tag`, `pos`,
  `morph`, `lemma`, `dep` and `head` (the index of a token).
- `vector`: the numbers of the text's vector.
- `extensions`: `{name: value, ...}` of the document's extension attributes that `document_extensions` lists.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any

import spacy
from spacy.language import Language


class Model:
    """The pipeline, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._settings: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._folder = Path(kwargs["data_dir"]) / self._settings["model_binary_dir"]
        self._one_at_a_time = Lock()
        self.pipeline: Any = None

    def load(self) -> None:
        """Read the pipeline; called once, before the first request."""
        for module, factories in self._settings["modules"].items():
            # The process that packaged them has them already, and spaCy takes no second one of a name.
            if not factories or not all(map(Language.has_factory, factories)):
                importlib.import_module(module)  # registers its components and functions
        self.pipeline = spacy.load(self._folder)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the pipeline sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": texts}` with what the pipeline finds in each text."""
        texts = list(request["inputs"])
        others = [index for index, text in enumerate(texts) if not isinstance(text, str)]
        if others:
            kind = type(texts[others[0]]).__name__
            raise ValueError(f"each input is a text; input {others[0]} is of type {kind}")
        # What a request brings is forgotten after it: else each new word ever seen stays in memory.
        with self._one_at_a_time, self.pipeline.memory_zone():
            return {"predictions": [self._entry(document) for document in self.pipeline.pipe(texts)]}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _entry(self, document: Any) -> dict[str, Any]:
        return {name: self._part(name, document) for name in self._settings["answer"]}

    def _part(self, name: str, document: Any) -> Any:
        """One of the things that an entry may hold."""
        if name == "entities":
            return _spans(document.ents)
        if name == "categories":
            return {label: float(score) for label, score in document.cats.items()}
        if name == "spans":
            return {group: _spans(spans) for group, spans in document.spans.items()}
        if name == "sentences":
            return [_place(sentence, sentence.start_char) for sentence in document.sents]
        if name == "tokens":
            return [self._token(token) for token in document]
        if name == "vector":
            return document.vector.tolist()
        if name == "extensions":
            return {key: document._.get(key) for key in self._settings["document_extensions"]}
        raise ValueError(f"model_metadata.answer lists {name!r}, which is none of what an entry may hold")

    def _token(self, token: Any) -> dict[str, Any]:
        attributes = {name: _attribute(token, name) for name in self._settings["token_attributes"]}
        return {**_place(token, token.idx), **attributes}


def _spans(spans: Iterable[Any]) -> list[dict[str, Any]]:
    return [{**_place(span, span.start_char), "label": span.label_, **_identity(span)} for span in spans]


def _place(part: Any, start: int) -> dict[str, Any]:
    return {"text": part.text, "start": start, "end": start + len(part.text)}


def _identity(span: Any) -> dict[str, str]:
    """The identifiers that a span has, from a ruler or an entity linker."""
    identity = {"id": span.id_, "kb_id": span.kb_id_}
    return {name: value for name, value in identity.items() if value}


def _attribute(token: Any, name: str) -> Any:
    if name == "head":
        return token.head.i
    return str(token.morph) if name == "morph" else getattr(token, f"{name}_")
