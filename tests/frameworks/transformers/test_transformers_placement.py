"""The number format and the devices, as the config names them."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import pipeline

import truss
from truss.errors import TrussError
from truss.frameworks.transformers.placement import placement
from truss.model.loader import load_model

REQUEST = {"inputs": ["the cat"]}


def classifier(tiny: SimpleNamespace) -> Any:
    model = tiny.bert("BertForSequenceClassification", num_labels=3)
    return pipeline("text-classification", model=model, tokenizer=tiny.tokenizer())


def writer(tiny: SimpleNamespace) -> Any:
    model, tokenizer = tiny.chat()
    return pipeline("text-generation", model=model, tokenizer=tokenizer)


def encoder(tiny: SimpleNamespace) -> Any:
    return tiny.bert(), tiny.tokenizer()


def translator(tiny: SimpleNamespace) -> Any:
    return tiny.t5(), tiny.tokenizer(encoder=False, eos="</s>"), "translation"


KINDS = [classifier, writer, encoder, translator]


def loaded(folder: Path) -> Any:
    return load_model(folder, truss.load(folder).spec.config)


def edited(folder: Path, key: str, value: str) -> Path:
    """The Truss with one of the two settings, changed."""
    config = folder / "config.yaml"
    text = config.read_text()
    changed, count = re.subn(rf"  {key}: \w+\n", f"  {key}: {value}\n", text)
    assert count == 1
    config.write_text(changed)
    return folder


def network(model: Any) -> Any:
    return model.model.model if hasattr(model.model, "model") else model.model.pipeline.model


@pytest.mark.parametrize("build", KINDS)
def test_the_config_says_in_which_format(build: Any, tiny: SimpleNamespace, tmp_path: Path) -> None:
    truss.create(build(tiny), tmp_path / "here")
    model = loaded(edited(tmp_path / "here", "dtype", "bfloat16"))
    assert {weight.dtype for weight in network(model).parameters()} == {torch.bfloat16}
    assert len(model.predict(REQUEST)["predictions"]) == 1


@pytest.mark.parametrize("build", KINDS)
def test_the_config_says_where(build: Any, tiny: SimpleNamespace, tmp_path: Path) -> None:
    truss.create(build(tiny), tmp_path / "here")
    model = loaded(edited(tmp_path / "here", "device_map", "auto"))
    assert len(model.predict(REQUEST)["predictions"]) == 1
    with pytest.raises(TrussError, match="nowhere"):
        loaded(edited(tmp_path / "here", "device_map", "nowhere"))


@pytest.mark.parametrize("build", KINDS)
def test_an_unknown_format_is_refused(build: Any, tiny: SimpleNamespace, tmp_path: Path) -> None:
    truss.create(build(tiny), tmp_path / "here")
    with pytest.raises(TrussError, match=r"model_metadata.dtype is 'int3'"):
        loaded(edited(tmp_path / "here", "dtype", "int3"))


@pytest.mark.parametrize(
    ("devices", "expected"),
    [(None, None), ({"": "cpu"}, None), ({"a": 0, "b": 0}, None), ({"a": 0, "b": 1}, "auto")],
)
def test_a_model_that_was_spread_out_is_spread_out_again(devices: Any, expected: str | None) -> None:
    assert placement(SimpleNamespace(hf_device_map=devices))["device_map"] == expected
