"""What is recognised, what is refused and why, and what the adapter says about what it saved."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers import pipeline

from truss.errors import PackagingError
from truss.frameworks.transformers.adapter import TransformersFramework
from truss.testing.environments import OwnEnvironment, ServedAlone

FRAMEWORK = TransformersFramework()
IS_VERSION_4 = transformers.__version__.startswith("4.")


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Any]:
    return lambda model: FRAMEWORK.save(model, tmp_path)


@pytest.fixture(autouse=True, scope="module")
def _share_factories(tiny: SimpleNamespace) -> None:
    TestPipelineConformance.tiny = TestEncoderConformance.tiny = TestTextToTextConformance.tiny = tiny


class TestPipelineConformance(ServedAlone):
    framework = FRAMEWORK
    strangers = (torch.nn.Linear(1, 1), transformers.BertConfig())
    relative_tolerance = 1e-6
    tiny: SimpleNamespace

    def make_model(self) -> Any:
        # In double precision, so that the last bits of single precision need no tolerance.
        model = self.tiny.bert("BertForSequenceClassification", num_labels=3).double()
        return pipeline("text-classification", model=model, tokenizer=self.tiny.tokenizer(), top_k=None)

    def make_request(self) -> Any:
        return {"inputs": ["the cat sat", "a dog ate my hat while it was warm"]}


class TestEncoderConformance(TestPipelineConformance):
    def make_model(self) -> Any:
        return self.tiny.bert().double(), self.tiny.tokenizer()


class TestTextToTextConformance(OwnEnvironment, TestPipelineConformance):
    def make_model(self) -> Any:
        return self.tiny.t5(), self.tiny.tokenizer(encoder=False, eos="</s>")


def test_weights_are_saved_once_as_safetensors_in_their_own_number_format(
    tiny: SimpleNamespace, tmp_path: Path, save: Callable[[Any], Any]
) -> None:
    model = tiny.bert("BertForSequenceClassification").to(torch.float16)
    saved = save((model, tiny.tokenizer()))
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= files
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in files)
    served = load(saved, tmp_path)
    assert served.pipeline.model.dtype == torch.float16
    assert not served.pipeline.model.training


def load(saved: Any, data_dir: Path) -> Any:
    namespace: dict[str, Any] = {"__name__": "model"}
    exec(compile(saved.model_class, "model.py", "exec"), namespace)
    model = namespace["Model"](data_dir=data_dir, config={"model_metadata": saved.model_metadata})
    model.load()
    return model


@pytest.mark.parametrize(("weights", "numbers"), [("float32", "float32"), ("bfloat16", "float16")])
def test_the_live_answer_says_how_exact_it_is(weights: str, numbers: str, tiny: SimpleNamespace) -> None:
    model = tiny.bert("BertForSequenceClassification").to(getattr(torch, weights))
    answer = FRAMEWORK.answer((model, tiny.tokenizer()), {"inputs": ["the cat"]})
    assert answer["predictions"][0]["score"].dtype == numbers


def test_the_generation_config_is_saved(
    tiny: SimpleNamespace, tmp_path: Path, save: Callable[[Any], Any]
) -> None:
    model = tiny.t5()
    model.generation_config.num_beams = 3
    served = load(save((model, tiny.tokenizer(encoder=False, eos="</s>"))), tmp_path)
    assert served.model.generation_config.num_beams == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"top_k": 2, "truncation": True}, {"top_k": 2, "truncation": True}),
        ({"function_to_apply": "none", "batch_size": 4}, {"function_to_apply": "none", "batch_size": 4}),
        ({}, {}),
    ],
)
def test_arguments_of_a_classifier_are_kept(
    tiny: SimpleNamespace, save: Callable[[Any], Any], arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    model = tiny.bert("BertForSequenceClassification", num_labels=3)
    pipe = pipeline("text-classification", model=model, tokenizer=tiny.tokenizer(), **arguments)
    assert save(pipe).model_metadata["parameters"] == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_new_tokens": 3, "do_sample": False},
        {"max_length": 9, "do_sample": False, "return_full_text": False},
        {"temperature": 0.5, "top_k": 7, "max_new_tokens": 3},
        {"num_beams": 2, "max_new_tokens": 3, "clean_up_tokenization_spaces": True},
        {"stop_sequence": "hat", "max_new_tokens": 3},
        {"return_tensors": True, "max_new_tokens": 3, "prefix": "the cat"},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_arguments_of_a_generator_are_kept(
    tiny: SimpleNamespace, save: Callable[[Any], Any], arguments: dict[str, Any]
) -> None:
    tokenizer = tiny.tokenizer(encoder=False, eos="</s>")
    pipe = pipeline("text-generation", model=tiny.gpt2(), tokenizer=tokenizer, **arguments)
    parameters = save(pipe).model_metadata["parameters"]
    kept = {name: parameters.get(name) for name in arguments}
    assert kept in (arguments, {**arguments, "stop_sequence": ["hat"]})


def test_sampled_answers_are_announced(tiny: SimpleNamespace, save: Callable[[Any], Any]) -> None:
    tokenizer = tiny.tokenizer(encoder=False, eos="</s>")
    saved = save(pipeline("text-generation", model=tiny.gpt2(), tokenizer=tokenizer, do_sample=True))
    assert any("do_sample" in note for note in saved.notes)
    assert not saved.repeatable
    assert saved.batching == "none"


def test_packaging_leaves_the_live_objects_as_they_were(
    tiny: SimpleNamespace, save: Callable[[Any], Any]
) -> None:
    model, tokenizer = tiny.bert().train(), tiny.tokenizer()
    tokenizer.padding_side = "left"
    save((model, tokenizer))
    assert model.training
    assert tokenizer.padding_side == "left"


def test_a_model_that_sees_its_padding_is_not_batched(
    tiny: SimpleNamespace, save: Callable[[Any], Any]
) -> None:
    torch.manual_seed(0)
    tokenizer = tiny.tokenizer()
    config = transformers.FNetConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, intermediate_size=16
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids"]
    saved = save((transformers.FNetModel(config).eval(), tokenizer))
    assert (saved.batching, saved.model_metadata["batch_size"]) == ("none", 1)


def test_code_that_came_with_the_weights_is_kept_and_announced(
    tiny: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scaled_bert.py").write_text(
        "from transformers import BertForSequenceClassification\n\n\n"
        "class ScaledBert(BertForSequenceClassification):\n"
        "    def forward(self, *args, **kwargs):\n"
        "        output = super().forward(*args, **kwargs)\n"
        "        output.logits = output.logits * 2\n"
        "        return output\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from scaled_bert import ScaledBert

    plain = tiny.bert("BertForSequenceClassification")
    custom = ScaledBert(plain.config).eval()
    custom.load_state_dict(plain.state_dict())
    given = (custom, tiny.tokenizer(), "text-classification")
    (tmp_path / "data").mkdir()
    with pytest.raises(PackagingError, match="register_for_auto_class"):
        FRAMEWORK.save(given, tmp_path / "data")

    ScaledBert.register_for_auto_class("AutoModelForSequenceClassification")
    saved = FRAMEWORK.save(given, tmp_path / "data")
    assert (tmp_path / "data" / "model" / "scaled_bert.py").is_file()
    assert any("trust_remote_code" in note for note in saved.notes)
    request = {"inputs": ["the cat"]}
    served = load(saved, tmp_path / "data")
    assert type(served.pipeline.model) is not ScaledBert
    score = served.predict(request)["predictions"][0]["score"]
    assert score == pytest.approx(FRAMEWORK.answer(given, request)["predictions"][0]["score"])


def refusals(tiny: SimpleNamespace) -> dict[str, tuple[Any, str]]:
    classifier = tiny.bert("BertForSequenceClassification")
    adapted = tiny.bert("BertForSequenceClassification")
    adapted._hf_peft_config_loaded = True  # what transformers sets when an adapter is attached
    packed = torch.ao.quantization.quantize_dynamic(classifier, {torch.nn.Linear}, dtype=torch.qint8)
    tokenizer = tiny.tokenizer()
    refused = {
        "packed": ((packed, tokenizer), r"was quantised by torch: its layer `bert\.encoder\..*query`"),
        "two models": ((classifier, classifier), "more than one model"),
        "two tasks": ((classifier, tokenizer, "ner", "fill-mask"), "more than one task"),
        "no tokenizer": (classifier, "without its tokenizer"),
        "adapter": ((adapted, tokenizer), "adapter on a base model"),
        "unknown task": ((classifier, tokenizer, "divination"), "no pipeline for divination"),
    }
    if not IS_VERSION_4:
        refused["removed task"] = (
            (tiny.bert("BertForQuestionAnswering"), tokenizer),
            "no pipeline for question",
        )
    return refused


NAMES = ["packed", "two models", "two tasks", "no tokenizer", "adapter", "unknown task"]


@pytest.mark.parametrize("name", NAMES if IS_VERSION_4 else [*NAMES, "removed task"])
def test_refusals_say_what_is_wrong_and_what_to_do(
    name: str, tiny: SimpleNamespace, tmp_path: Path, save: Callable[[Any], Any]
) -> None:
    model, message = refusals(tiny)[name]
    assert FRAMEWORK.recognises(model)
    with pytest.raises(PackagingError, match=message) as caught:
        save(model)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_an_argument_that_no_file_can_hold_is_refused(
    tiny: SimpleNamespace, save: Callable[[Any], Any]
) -> None:
    criteria = transformers.StoppingCriteriaList([transformers.MaxLengthCriteria(5)])
    tokenizer = tiny.tokenizer(encoder=False, eos="</s>")
    pipe = pipeline("text-generation", model=tiny.gpt2(), tokenizer=tokenizer, logits_processor=criteria)
    with pytest.raises(PackagingError, match="logits_processor"):
        save(pipe)


def test_a_prompt_that_lacks_is_named(tiny: SimpleNamespace) -> None:
    tokenizer = tiny.tokenizer(encoder=False, eos="</s>")
    pipe = pipeline("text-generation", model=tiny.gpt2(), tokenizer=tokenizer, max_new_tokens=2)
    with pytest.raises(ValueError, match="`prompt`"):
        FRAMEWORK.answer(pipe, {"inputs": [{"text": "the cat"}]})


def test_recognising_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from truss.frameworks.transformers.adapter import TransformersFramework as T; "
        "assert not T().recognises(object()); print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
