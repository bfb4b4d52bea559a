"""What is saved answers as the live object does: elsewhere, offline, with the original files gone."""

import json
import shutil
from collections.abc import Callable
from math import isclose
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from transformers import pipeline

from truss.frameworks.base import Saved
from truss.frameworks.transformers.adapter import TransformersFramework

FRAMEWORK = TransformersFramework()
IS_VERSION_4 = transformers.__version__.startswith("4.")
TEXTS = ["the cat", "a dog ate my hat while it was warm in here", "hello world"]
TEXT_REQUEST = {"inputs": TEXTS}

Tiny = SimpleNamespace
Built = tuple[Any, dict[str, Any]]
Case = Callable[[Tiny, Path], Built]


def reread(model: Any, tokenizer: Any, folder: Path) -> tuple[Any, Any]:
    """The two as read from a folder, as a user's are, so that they remember where they came from."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return type(model).from_pretrained(folder), type(tokenizer).from_pretrained(folder)


def classifier(tiny: Tiny, folder: Path) -> Built:
    model, tokenizer = reread(
        tiny.bert("BertForSequenceClassification", num_labels=3), tiny.tokenizer(), folder
    )
    return pipeline("text-classification", model=model, tokenizer=tokenizer), TEXT_REQUEST


def classifier_with_parameters(tiny: Tiny, folder: Path) -> Built:
    model, tokenizer = reread(
        tiny.bert("BertForSequenceClassification", num_labels=3), tiny.tokenizer(), folder
    )
    pipe = pipeline(
        "text-classification",
        model=model,
        tokenizer=tokenizer,
        top_k=None,
        function_to_apply="sigmoid",
        truncation=True,
        max_length=6,
    )
    return pipe, TEXT_REQUEST


def classifier_of_pairs(tiny: Tiny, folder: Path) -> Built:
    pipe, _ = classifier(tiny, folder)
    return pipe, {"inputs": [{"text": "the cat", "text_pair": "my hat"}]}


def classifier_without_padding(tiny: Tiny, folder: Path) -> Built:
    tokenizer = tiny.tokenizer(encoder=False, eos="</s>")
    tokenizer.pad_token = None
    model = tiny.gpt2("GPT2ForSequenceClassification")
    return pipeline("text-classification", model=model, tokenizer=tokenizer), TEXT_REQUEST


def half_precision(tiny: Tiny, folder: Path) -> Built:
    model = tiny.bert("BertForSequenceClassification").to(torch.float16)
    return (model, tiny.tokenizer()), TEXT_REQUEST


def pair_classifier(tiny: Tiny, folder: Path) -> Built:
    return reread(tiny.bert("BertForSequenceClassification"), tiny.tokenizer(), folder), TEXT_REQUEST


def model_alone(tiny: Tiny, folder: Path) -> Built:
    model, _ = reread(tiny.bert("BertForSequenceClassification"), tiny.tokenizer(), folder)
    return model, TEXT_REQUEST


def in_training_mode(tiny: Tiny, folder: Path) -> Built:
    model = tiny.bert("BertForSequenceClassification").train()
    return (model, tiny.tokenizer()), TEXT_REQUEST


def tokens(tiny: Tiny, folder: Path) -> Built:
    model = tiny.bert("BertForTokenClassification", num_labels=3)
    pipe = pipeline(
        "token-classification", model=model, tokenizer=tiny.tokenizer(), aggregation_strategy="first"
    )
    return pipe, TEXT_REQUEST


def tokens_in_strides(tiny: Tiny, folder: Path) -> Built:
    tokenizer = tiny.tokenizer()
    tokenizer.model_max_length = 8
    model = tiny.bert("BertForTokenClassification", num_labels=3)
    pipe = pipeline(
        "ner",
        model=model,
        tokenizer=tokenizer,
        aggregation_strategy="simple",
        stride=2,
        ignore_labels=["LABEL_1"],
    )
    return pipe, TEXT_REQUEST


def mask(tiny: Tiny, folder: Path) -> Built:
    pipe = pipeline(
        "fill-mask",
        model=tiny.bert("BertForMaskedLM"),
        tokenizer=tiny.tokenizer(),
        top_k=2,
        targets=["cat", "hat"],
    )
    return pipe, {"inputs": ["the [MASK] sat", "a dog ate my [MASK] in here"]}


def features(tiny: Tiny, folder: Path) -> Built:
    pipe = pipeline(
        "feature-extraction",
        model=tiny.bert(),
        tokenizer=tiny.tokenizer(),
        tokenize_kwargs={"truncation": True, "max_length": 6},
    )
    return pipe, TEXT_REQUEST


def pair_features(tiny: Tiny, folder: Path) -> Built:
    return (tiny.bert(), tiny.tokenizer()), TEXT_REQUEST


def sentences(tiny: Tiny, folder: Path) -> Built:
    pair = reread(tiny.bert(), tiny.tokenizer(), folder)
    describe_sentences(folder)
    return pair, TEXT_REQUEST


def describe_sentences(folder: Path) -> None:
    """Say in `folder` what folders of sentence encoders say: mean pooling, vectors of length 1."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false}'
    )


def zero_shot(tiny: Tiny, folder: Path) -> Built:
    labels = {"contradiction": 0, "neutral": 1, "entailment": 2}
    names = {number: label for label, number in labels.items()}
    model = tiny.bert("BertForSequenceClassification", label2id=labels, id2label=names)
    pipe = pipeline(
        "zero-shot-classification", model=model, tokenizer=tiny.tokenizer(), hypothesis_template="it was {}"
    )
    return pipe, {
        "inputs": [{"sequences": "the cat sat", "candidate_labels": ["warm", "a hat"], "multi_label": True}]
    }


def zero_shot_with_labels(tiny: Tiny, folder: Path) -> Built:
    model = tiny.bert("BertForSequenceClassification", num_labels=3)
    pipe = pipeline(
        "zero-shot-classification", model=model, tokenizer=tiny.tokenizer(), candidate_labels=["warm", "hat"]
    )
    return pipe, {"inputs": ["the cat sat", "my dog"]}


def writer(tiny: Tiny, folder: Path) -> Built:
    pipe = pipeline(
        "text-generation",
        model=tiny.gpt2(),
        tokenizer=tiny.tokenizer(encoder=False, eos="</s>"),
        max_new_tokens=5,
        do_sample=False,
        return_full_text=False,
    )
    return pipe, {"inputs": ["the cat", {"prompt": "a dog", "max_new_tokens": 2, "return_full_text": True}]}


def writer_with_stop(tiny: Tiny, folder: Path) -> Built:
    pipe = pipeline(
        "text-generation",
        model=tiny.gpt2(),
        tokenizer=tiny.tokenizer(encoder=False, eos="</s>"),
        max_length=20,
        do_sample=False,
        num_beams=2,
        repetition_penalty=1.5,
    )
    return pipe, {"inputs": [{"prompt": "the cat"}]}


def chat(tiny: Tiny, folder: Path) -> Built:
    model, tokenizer = tiny.chat()
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer, do_sample=False)
    one = [{"role": "user", "content": "the cat"}]
    other = [{"role": "system", "content": "a dog"}, *one, {"role": "assistant", "content": "ate"}]
    return pipe, {"inputs": [one, {"messages": other, "max_tokens": 3}], "max_new_tokens": 5}


def pair_text_to_text(tiny: Tiny, folder: Path) -> Built:
    return reread(tiny.t5(), tiny.tokenizer(encoder=False, eos="</s>"), folder), TEXT_REQUEST


def pair_translation(tiny: Tiny, folder: Path) -> Built:
    pair = reread(tiny.t5(), tiny.tokenizer(encoder=False, eos="</s>"), folder)
    return (*pair, "translation"), {
        "inputs": ["the cat", {"text": "a dog", "num_return_sequences": 2, "num_beams": 2}]
    }


def images(tiny: Tiny, folder: Path) -> Built:
    image = pytest.importorskip("PIL.Image")
    kind = getattr(transformers, "ViTImageProcessorPil", transformers.ViTImageProcessor)
    pipe = pipeline(
        "image-classification",
        model=tiny.vit(),
        image_processor=kind(size={"height": 16, "width": 16}),
        top_k=2,
    )
    pictures = []
    for colour in ("red", "navy"):
        path = folder.parent / f"{colour}.png"
        image.new("RGB", (20, 20), colour).save(path)
        pictures.append(str(path))
    return pipe, {"inputs": pictures}


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        classifier,
        classifier_with_parameters,
        classifier_of_pairs,
        classifier_without_padding,
        half_precision,
        pair_classifier,
        model_alone,
        in_training_mode,
        tokens,
        tokens_in_strides,
        mask,
        features,
        pair_features,
        sentences,
        zero_shot,
        zero_shot_with_labels,
        writer,
        writer_with_stop,
        chat,
        pair_text_to_text,
        pair_translation,
        images,
    )
}


def translation_pipeline(tiny: Tiny, folder: Path) -> Built:
    specific = {"translation_en_to_de": {"prefix": "translate to german ", "num_beams": 2, "max_length": 7}}
    model, tokenizer = reread(
        tiny.t5(task_specific_params=specific), tiny.tokenizer(encoder=False, eos="</s>"), folder
    )
    return pipeline("translation_en_to_de", model=model, tokenizer=tokenizer), TEXT_REQUEST


def text_to_text_pipeline(tiny: Tiny, folder: Path) -> Built:
    pipe = pipeline(
        "text2text-generation",
        model=tiny.t5(),
        tokenizer=tiny.tokenizer(encoder=False, eos="</s>"),
        max_new_tokens=4,
        num_beams=2,
        num_return_sequences=2,
    )
    return pipe, TEXT_REQUEST


def summarizer(tiny: Tiny, folder: Path) -> Built:
    pair = reread(tiny.t5(), tiny.tokenizer(encoder=False, eos="</s>"), folder)
    return pipeline("summarization", model=pair[0], tokenizer=pair[1], min_length=2), TEXT_REQUEST


def answers_questions(tiny: Tiny, folder: Path) -> Built:
    model = tiny.bert("BertForQuestionAnswering")
    pipe = pipeline("question-answering", model=model, tokenizer=tiny.tokenizer(), max_answer_len=3)
    return pipe, {"inputs": [{"question": "the cat", "context": "a dog ate my hat in here"}]}


def all_scores(tiny: Tiny, folder: Path) -> Built:
    model = tiny.bert("BertForSequenceClassification", num_labels=3)
    pipe = pipeline("text-classification", model=model, tokenizer=tiny.tokenizer(), return_all_scores=True)
    return pipe, TEXT_REQUEST


if IS_VERSION_4:
    CASES |= {
        case.__name__: case
        for case in (translation_pipeline, text_to_text_pipeline, summarizer, answers_questions, all_scores)
    }


@pytest.fixture(scope="module")
def outcomes(
    tiny: Tiny,
    tmp_path_factory: pytest.TempPathFactory,
    ask_fresh_process: Callable[[list[dict[str, Any]]], dict[str, Any]],
) -> dict[str, Any]:
    """For each case: what the live object answers, what was saved, and what one fresh process answers."""
    live: dict[str, Any] = {}
    tasks = []
    for name, case in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        origin = folder / "origin"
        model, request = case(tiny, origin)
        live[name] = [answer(model, request)]
        saved = save(model, folder / "here")
        shutil.move(folder / "here", folder / "there")
        shutil.rmtree(origin, ignore_errors=True)
        (folder / "there" / "model.py").write_text(saved.model_class)
        tasks.append(
            {
                "name": name,
                "model_file": str(folder / "there" / "model.py"),
                "data_dir": str(folder / "there" / "data"),
                "config": {"model_metadata": dict(saved.model_metadata)},
                "requests": [request],
            }
        )
    return {"live": live, "fresh": ask_fresh_process(tasks)}


def answer(model: Any, request: dict[str, Any]) -> Any:
    return as_json(FRAMEWORK.answer(model, request))


def save(model: Any, folder: Path) -> Saved:
    (folder / "data").mkdir(parents=True)
    return FRAMEWORK.save(model, folder / "data")


@pytest.mark.parametrize("name", CASES)
def test_saved_copy_answers_as_the_live_object(name: str, outcomes: dict[str, Any]) -> None:
    # Weights mapped from a file lie at other addresses, which changes the last bit of some sums.
    tolerance = 1e-2 if name == "half_precision" else 1e-5
    assert_close(outcomes["fresh"][name], outcomes["live"][name], tolerance)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_joined_rows_answer_as_separate_rows(case: Case, tiny: Tiny, tmp_path: Path) -> None:
    model, request = case(tiny, tmp_path / "origin")
    batching = save(model, tmp_path / "here").batching
    joined = answer(model, request)["predictions"]
    separate = [answer(model, {**request, "inputs": [row]})["predictions"][0] for row in request["inputs"]]
    if batching == "rows":
        assert_close(joined, separate, 2e-2 if case is half_precision else 1e-4)
    else:
        assert joined == separate


def assert_close(one: Any, other: Any, tolerance: float) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        assert_close(list(one.values()), list(other.values()), tolerance)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_close(first, second, tolerance)
    elif isinstance(one, float):
        assert isclose(one, other, rel_tol=tolerance, abs_tol=tolerance / 10)
    else:
        assert one == other


@pytest.mark.parametrize(
    "case",
    [classifier, classifier_with_parameters, tokens, mask, features, images],
    ids=lambda case: case.__name__,
)
def test_a_plain_pipeline_answers_what_it_answers_by_itself(case: Case, tiny: Tiny, tmp_path: Path) -> None:
    pipe, request = case(tiny, tmp_path / "origin")
    ours = answer(pipe, request)["predictions"]
    assert_close(ours, as_json(pipe(list(request["inputs"]))), 1e-4)


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda item: item.tolist()))


def test_a_prompt_is_continued_as_the_pipeline_continues_it(tiny: Tiny, tmp_path: Path) -> None:
    pipe, request = writer(tiny, tmp_path)
    assert answer(pipe, request)["predictions"] == [
        pipe("the cat"),
        pipe("a dog", max_new_tokens=2, return_full_text=True),
    ]


def test_named_inputs_are_the_pipelines_arguments(tiny: Tiny, tmp_path: Path) -> None:
    pipe, request = zero_shot(tiny, tmp_path)
    assert answer(pipe, request)["predictions"] == [pipe(**request["inputs"][0])]


@pytest.mark.parametrize(
    "case", [classifier, pair_features, sentences, writer, pair_text_to_text], ids=lambda c: c.__name__
)
def test_no_inputs_have_no_predictions(case: Case, tiny: Tiny, tmp_path: Path) -> None:
    model, _ = case(tiny, tmp_path / "origin")
    assert answer(model, {"inputs": []}) == {"predictions": []}
