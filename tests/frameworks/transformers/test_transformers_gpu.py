"""On a machine with a GPU: models of every kind, and their inputs, are on it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import pipeline

import truss
from truss.frameworks.transformers.adapter import TransformersFramework
from truss.model.compare import difference
from truss.model.loader import load_model
from truss.testing.server import running_server

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

FRAMEWORK = TransformersFramework()
TEXTS = {"inputs": ["the cat sat", "a dog ate my hat while it was warm"]}


def classifier(tiny: SimpleNamespace) -> Any:
    model = tiny.bert("BertForSequenceClassification", num_labels=3)
    return pipeline("text-classification", model=model, tokenizer=tiny.tokenizer(), top_k=None, device="cpu")


def encoder(tiny: SimpleNamespace) -> Any:
    return tiny.bert(), tiny.tokenizer()


def translator(tiny: SimpleNamespace) -> Any:
    return tiny.t5(), tiny.tokenizer(encoder=False, eos="</s>"), "translation"


def writer(tiny: SimpleNamespace) -> Any:
    model, tokenizer = tiny.chat()
    return pipeline("text-generation", model=model, tokenizer=tokenizer, max_new_tokens=4, device="cpu")


def images(tiny: SimpleNamespace) -> Any:
    kind = getattr(transformers, "ViTImageProcessorPil", transformers.ViTImageProcessor)
    processor = kind(size={"height": 16, "width": 16})
    return pipeline("image-classification", model=tiny.vit(), image_processor=processor, device="cpu")


PICTURE = {"inputs": [np.full((20, 20, 3), 100, "uint8")]}
KINDS = [(classifier, TEXTS), (encoder, TEXTS), (translator, TEXTS), (writer, TEXTS), (images, PICTURE)]


def network(model: Any) -> Any:
    return model.model.model if hasattr(model.model, "model") else model.model.pipeline.model


def devices_seen(module: Any) -> set[str]:
    """The types of the devices of the tensors that the module is given, from now on."""
    seen: set[str] = set()

    def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()]
        seen.update(item.device.type for item in given if isinstance(item, torch.Tensor))

    module.register_forward_pre_hook(note, with_kwargs=True)
    return seen


@pytest.mark.parametrize(("build", "request_"), KINDS, ids=[build.__name__ for build, _ in KINDS])
def test_model_and_inputs_are_on_the_gpu(
    build: Any, request_: Any, tiny: SimpleNamespace, tmp_path: Path
) -> None:
    live = build(tiny)
    truss.create(live, tmp_path / "here")
    copy = load_model(tmp_path / "here", truss.load(tmp_path / "here").spec.config)
    served = network(copy)
    assert {weight.device.type for weight in served.parameters()} == {"cuda"}
    seen = devices_seen(served)
    answer = copy.predict(request_)
    assert seen == {"cuda"}
    assert difference(FRAMEWORK.answer(live, request_), answer, 1e-3) is None


def test_a_model_packaged_on_the_gpu_in_half_precision_stays_so_over_http(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    model = tiny.bert("BertForSequenceClassification", num_labels=3).to("cuda", torch.float16)
    pipe = pipeline("text-classification", model=model, tokenizer=tiny.tokenizer(), top_k=None)
    truss.create(pipe, tmp_path / "here", examples=TEXTS)
    copy = load_model(tmp_path / "here", truss.load(tmp_path / "here").spec.config)
    assert {(weight.device.type, weight.dtype) for weight in network(copy).parameters()} == {
        ("cuda", torch.float16)
    }
    with running_server(tmp_path / "here") as server:
        answer = server.predict(TEXTS).json()
    assert difference(FRAMEWORK.answer(pipe, TEXTS), answer, 1e-2) is None
