"""Prompts and chats: as the pipeline answers them, in pieces, and as OpenAI's chat API answers them."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import pipeline

import truss
from truss.frameworks.transformers.adapter import TransformersFramework
from truss.frameworks.transformers.text_generation_model_class import Model, before_any
from truss.model.steps import Steps
from truss.testing.server import running_server

FRAMEWORK = TransformersFramework()
CHAT = [{"role": "user", "content": "the cat sat on my mat"}]
PROMPT = "user the cat sat on my mat hello"  # not answered by padding, which is left out of texts
GREEDY = {"do_sample": False, "max_new_tokens": 6}


@pytest.fixture(scope="module")
def pipe(tiny: SimpleNamespace) -> Any:
    model, tokenizer = tiny.chat()
    return pipeline("text-generation", model=model, tokenizer=tokenizer)


@pytest.fixture
def model(pipe: Any) -> Model:
    return with_pipeline(pipe)


def with_pipeline(pipe: Any) -> Model:
    config = {"model_metadata": {"model_binary_dir": "model", "parameters": {}}, "model_name": "tiny"}
    model = Model(config=config, data_dir=".")
    model.pipeline = pipe
    return model


def new_text(pipe: Any, prompt: Any, **options: Any) -> str:
    text: str = pipe(prompt, return_full_text=False, **options)[0]["generated_text"]
    return text.lstrip()  # version 4 keeps the space between prompt and answer


def test_messages_are_answered_as_the_pipeline_answers_them(pipe: Any) -> None:
    expected = pipe(CHAT, **GREEDY)
    assert expected[0]["generated_text"][-1]["role"] == "assistant"
    for request in (
        {"messages": CHAT, "max_tokens": 6, "temperature": 0},
        {"inputs": [CHAT], **GREEDY},
        {"inputs": [{"messages": CHAT}], **GREEDY},
        {"inputs": [{"prompt": CHAT, "max_completion_tokens": 6}], "do_sample": False, "max_new_tokens": 2},
    ):
        assert FRAMEWORK.answer(pipe, request) == {"predictions": [expected]}


def test_contents_in_parts_are_joined(model: Model, pipe: Any) -> None:
    parts = [{"type": "text", "text": "the cat sat "}, {"type": "text", "text": "on my mat"}]
    request = {"messages": [{"role": "user", "content": parts}], **GREEDY}
    assert model.predict(request) == {"predictions": [pipe(CHAT, **GREEDY)]}


def test_sampling_is_chosen_by_its_options_and_repeated_by_its_seed(model: Model) -> None:
    request = {"prompt": "the cat", "temperature": 5.0, "max_new_tokens": 20}
    sampled = [model.predict({**request, "seed": seed}) for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1]
    assert sampled[0] != sampled[2]


def test_a_stream_is_the_answer_in_pieces(model: Model, pipe: Any) -> None:
    for request, prompt in (({"prompt": PROMPT}, PROMPT), ({"messages": CHAT}, CHAT)):
        pieces = model.predict({**request, **GREEDY, "stream": True})
        assert isinstance(pieces, Iterator)
        pieces = list(pieces)
        assert len(pieces) > 1
        assert "".join(pieces) == new_text(pipe, prompt, **GREEDY)


def test_closing_a_stream_ends_the_generation(model: Model) -> None:
    before = set(threading.enumerate())
    pieces: Any = model.predict({"prompt": "the cat", "max_new_tokens": 10**9, "stream": True})
    assert set(threading.enumerate()) == before, "nothing runs before somebody reads"
    assert next(pieces)
    assert set(threading.enumerate()) > before
    pieces.close()
    assert set(threading.enumerate()) == before


def test_a_stream_raises_what_the_generation_raised(model: Model) -> None:
    pieces: Any = model.predict({"prompt": "the cat", "num_beams": 2, "max_new_tokens": 3, "stream": True})
    with pytest.raises(ValueError, match=r"beam|batch"):
        list(pieces)


def test_in_process_a_stream_is_listed(model: Model, pipe: Any) -> None:
    answer = Steps(model, Path(__file__)).run({"prompt": PROMPT, **GREEDY, "stream": True})
    assert isinstance(answer, list)
    assert "".join(answer) == new_text(pipe, PROMPT, **GREEDY)


def test_a_chat_completion_has_the_shape_that_clients_expect(model: Model, pipe: Any) -> None:
    answer: Any = model.chat_completions({"messages": CHAT, "max_tokens": 6, "temperature": 0, "user": None})
    message = {"role": "assistant", "content": new_text(pipe, CHAT, **GREEDY)}
    assert answer.pop("id").startswith("chatcmpl-")
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "object": "chat.completion",
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
        # "user", six words, "hello"
        "usage": {"prompt_tokens": 8, "completion_tokens": 6, "total_tokens": 14},
    }


def test_a_chat_completion_says_when_the_model_stopped_by_itself(tiny: SimpleNamespace) -> None:
    model, tokenizer = tiny.chat()
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer)
    written = pipe(CHAT, return_tensors=True, **GREEDY)[0]["generated_token_ids"][-6:]
    getattr(pipe, "generation_config", pipe.model.generation_config).eos_token_id = written[3]
    length = written.index(written[3]) + 1
    request = {"messages": CHAT, "max_tokens": 6, "temperature": 0}
    answer: Any = with_pipeline(pipe).chat_completions(request)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == length
    *_, last, usage = with_pipeline(pipe).chat_completions(
        {**request, "stream": True, "stream_options": {"include_usage": True}}
    )
    assert last["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"] == answer["usage"]


def test_a_stop_text_ends_a_chat_completion_and_is_left_out(tiny: SimpleNamespace) -> None:
    network, tokenizer = tiny.chat(tiny.byte_tokenizer())
    pipe = pipeline("text-generation", model=network, tokenizer=tokenizer)
    model = with_pipeline(pipe)
    written = new_text(pipe, CHAT, **GREEDY)
    stop = written[len(written) // 2 :][:2]
    expected = written.partition(stop)[0]
    request = {"messages": CHAT, "max_tokens": 6, "temperature": 0, "stop": stop}
    (choice,) = model.chat_completions(request)["choices"]  # type: ignore[index]
    assert (choice["message"]["content"], choice["finish_reason"]) == (expected, "stop")
    streamed, reason = collect(model.chat_completions({**request, "stream": True}))
    assert (streamed, reason) == (expected, "stop")


def collect(chunks: Any) -> tuple[str, str]:
    first, *middle, last = (chunk["choices"][0] for chunk in chunks)
    assert first["delta"] == {"role": "assistant", "content": ""}
    assert last["delta"] == {}
    return "".join(choice["delta"]["content"] for choice in middle), last["finish_reason"]


def test_a_streamed_chat_completion_is_the_whole_one_in_chunks(model: Model) -> None:
    request = {"messages": CHAT, "max_tokens": 6, "temperature": 0}
    whole: Any = model.chat_completions(request)
    chunks: Any = list(model.chat_completions({**request, "stream": True, "model": "mine"}))
    assert {(chunk["object"], chunk["model"]) for chunk in chunks} == {("chat.completion.chunk", "mine")}
    assert len({chunk["id"] for chunk in chunks}) == 1
    (choice,) = whole["choices"]
    assert collect(chunks) == (choice["message"]["content"], choice["finish_reason"])


def test_several_choices(model: Model) -> None:
    answer: Any = model.chat_completions({"messages": CHAT, "n": 3, "top_p": 0.9, "max_tokens": 4, "seed": 1})
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["a", "b", "c"], [], ["a", "b", "c"]),
        (["ab", "cd"], ["bc"], ["a"]),
        (["ab", "xd"], ["bc"], ["a", "bxd"]),
        (["one two", " three"], ["two three", " t"], ["one"]),
        (["a", "b"], ["bc"], ["a", "", "b"]),
        (["stop"], ["stop"], []),
    ],
)
def test_text_before_a_stop(pieces: list[str], stops: list[str], expected: list[str]) -> None:
    assert list(before_any(pieces, stops)) == expected


BAD_REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"text": "the cat"}, "`prompt` or `messages`"),
    ({"prompt": "a", "messages": CHAT}, "`prompt` or `messages`"),
    ({"inputs": [3]}, "not int"),
    ({"prompt": 3}, "`prompt` must be a text"),
    ({"messages": []}, "`messages` must be a list"),
    ({"messages": "hello"}, "`messages` must be a list"),
    ({"messages": [{"role": "user"}]}, r"messages\[0\].content"),
    ({"messages": [{"content": "a"}]}, r"messages\[0\].role"),
    ({"messages": [*CHAT, {"role": "user", "content": [{"type": "image"}]}]}, r"messages\[1\].content"),
    ({"prompt": "a", "max_new_tokens": "ten"}, "`max_new_tokens` must be int, not 'ten'"),
    ({"prompt": "a", "max_new_tokens": True}, "`max_new_tokens` must be int"),
    ({"prompt": "a", "max_tokens": -1}, "`max_new_tokens` must be at least 1, not -1"),
    ({"prompt": "a", "top_p": -0.1}, "`top_p` must be at least 0"),
    ({"prompt": "a", "do_sample": 1}, "`do_sample` must be bool"),
    ({"prompt": "a", "stop": [""]}, "`stop`"),
    ({"prompt": "a", "colour": "red"}, "unknown options .'colour'"),
    ({"prompt": "a", "custom_generate": "somebody/code", "trust_remote_code": True}, "unknown options"),
    ({"inputs": ["a", "b"], "stream": True}, "one input at a time"),
]


@pytest.mark.parametrize(("request_", "message"), BAD_REQUESTS)
def test_a_bad_request_is_refused_in_words(request_: dict[str, Any], message: str, model: Model) -> None:
    with pytest.raises(ValueError, match=message):
        model.predict(request_)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "`messages` must be a list"),
        ({"messages": CHAT, "presence_penalty": 0.5}, "not offered"),
        ({"messages": CHAT, "tools": []}, "unknown options"),
        ({"messages": CHAT, "n": 2, "stream": True}, "one choice"),
    ],
)
def test_a_bad_chat_request_is_refused_in_words(request_: dict[str, Any], message: str, model: Model) -> None:
    with pytest.raises(ValueError, match=message):
        model.chat_completions(request_)


def test_without_a_chat_template_messages_are_refused(tiny: SimpleNamespace) -> None:
    tokenizer = tiny.tokenizer(encoder=False, eos="</s>")
    model = with_pipeline(pipeline("text-generation", model=tiny.gpt2(), tokenizer=tokenizer))
    for ask in (model.predict, model.chat_completions):
        with pytest.raises(ValueError, match="no chat template"):
            ask({"messages": CHAT})


def test_over_http_a_chat_is_answered_and_a_stream_is_listed(pipe: Any, tmp_path: Path) -> None:
    truss.create(pipe, tmp_path / "chat", examples=[{"messages": CHAT, **GREEDY}])
    with running_server(tmp_path / "chat") as server:
        answer = server.predict({"messages": CHAT, **GREEDY}).json()
        pieces = server.predict({"messages": CHAT, **GREEDY, "stream": True}).json()
        refused = server.predict({"messages": CHAT, "colour": "red"})
        body = json.dumps({"model": "model", "messages": "hello"}).encode()
        refused_chat = server.request("POST", "/v1/chat/completions", body)
    assert (refused.status, refused_chat.status) == (400, 400)
    assert "unknown options ['colour']" in refused.json()["error"]["message"]
    assert answer == {"predictions": [pipe(CHAT, **GREEDY)]}
    assert "".join(pieces) == new_text(pipe, CHAT, **GREEDY)
