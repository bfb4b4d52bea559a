"""Requests that a model of Hugging Face cannot read: they are at fault, not the model."""

import base64
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from transformers import pipeline

import truss
from truss.errors import InvalidInputError, PredictionError


def text_classifier(tiny: SimpleNamespace) -> Any:
    return pipeline(
        "text-classification",
        model=tiny.bert("BertForSequenceClassification", num_labels=3),
        tokenizer=tiny.tokenizer(),
    )


def zero_shot(tiny: SimpleNamespace) -> Any:
    labels = {"contradiction": 0, "neutral": 1, "entailment": 2}
    names = {number: label for label, number in labels.items()}
    model = tiny.bert("BertForSequenceClassification", label2id=labels, id2label=names)
    return pipeline("zero-shot-classification", model=model, tokenizer=tiny.tokenizer())


def fill_mask(tiny: SimpleNamespace) -> Any:
    return pipeline("fill-mask", model=tiny.bert("BertForMaskedLM"), tokenizer=tiny.tokenizer())


def images(tiny: SimpleNamespace) -> Any:
    kind = getattr(transformers, "ViTImageProcessorPil", transformers.ViTImageProcessor)
    processor = kind(size={"height": 16, "width": 16})
    return pipeline("image-classification", model=tiny.vit(), image_processor=processor)


def encoder(tiny: SimpleNamespace) -> Any:
    return pipeline("feature-extraction", model=tiny.bert(), tokenizer=tiny.tokenizer())


def writer(tiny: SimpleNamespace) -> Any:
    tokenizer = tiny.tokenizer(encoder=False, eos="</s>")
    return pipeline("text-generation", model=tiny.gpt2(), tokenizer=tokenizer, max_new_tokens=2)


def translator(tiny: SimpleNamespace) -> Any:
    return tiny.t5(), tiny.tokenizer(encoder=False, eos="</s>")


NO_IMAGE = base64.b64encode(b"this is no image").decode()

REFUSED: list[tuple[Callable[[SimpleNamespace], Any], Any]] = [
    (text_classifier, 3),
    (text_classifier, {"colour": "red"}),
    (zero_shot, {"sequences": "the cat"}),
    (zero_shot, "the cat"),
    (zero_shot, {"sequences": "the cat", "candidate_labels": []}),
    (fill_mask, "the cat sat"),
    (fill_mask, 3),
    (images, NO_IMAGE),
    (images, "the cat"),
    (images, "http://127.0.0.1:1/nobody-listens.png"),
    (images, 3),
    (encoder, 3),
    (writer, {"prompt": "the cat", "max_new_tokens": -1}),
    (writer, {"prompt": "the cat", "temperature": -0.5}),
    (writer, {"prompt": "the cat", "num_return_sequences": 2, "do_sample": False}),
    (translator, 3),
    (translator, {"text": "the cat", "colour": "red"}),
    (translator, {"text": "the cat", "max_new_tokens": -1}),
    (translator, {"text": "the cat", "num_return_sequences": 2}),
]


@pytest.mark.parametrize(
    ("make", "item"), REFUSED, ids=lambda part: getattr(part, "__name__", None) or str(part)[:50]
)
def test_what_the_model_cannot_read_is_the_requests_fault(
    make: Callable[[SimpleNamespace], Any], item: Any, tiny: SimpleNamespace, tmp_path: Path
) -> None:
    handle = truss.create(make(tiny), tmp_path / "packaged")
    with pytest.raises(InvalidInputError) as caught:
        handle.predict({"inputs": [item]})
    assert caught.value.hint


def test_what_the_model_itself_raises_is_not(tiny: SimpleNamespace, tmp_path: Path) -> None:
    pipe = text_classifier(tiny)
    handle = truss.create(pipe, tmp_path / "packaged")
    code = tmp_path / "packaged" / "model" / "model.py"
    broken = 'self.pipeline.model.forward = lambda **_: {}["lost"]'
    text = code.read_text().replace("    def preprocess", f"        {broken}\n\n    def preprocess", 1)
    code.write_text(text)
    with pytest.raises(PredictionError, match="lost"):
        handle.predict({"inputs": ["the cat"]})
