"""Writes text with a Hugging Face language model from the files beside it; nothing is fetched.

A request is one of these, with generation options beside it such as `max_new_tokens` or `temperature`:

- `{"inputs": [...]}`: each input is a prompt, a chat (a list of messages), or a mapping with `prompt` or
  `messages` and options of its own.
- `{"prompt": "a text"}` or `{"messages": [{"role": "user", "content": "a text"}]}`: one input.

The answer is `{"predictions": [...]}`, one entry per input, as the pipeline gives it. With `"stream": true`
the new text comes in pieces, while it is written. `chat_completions` takes and gives what clients of
OpenAI's chat API send and expect.

In the config's `model_metadata`, `parameters` holds what the pipeline was constructed with: edit it to
change what every request gets. `dtype` (auto, float32, float16, bfloat16) is the number format to compute
in, and `device_map` (such as `auto`) spreads the model over devices; that takes the package accelerate.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

Prompt = str | list[dict[str, Any]]

# What a request may set. Nothing else reaches `generate`, which also has options that run code from a hub.
_LENGTHS = ("max_new_tokens", "min_new_tokens", "max_length", "min_length", "no_repeat_ngram_size")
_COUNTS = (*_LENGTHS, "num_beams", "num_return_sequences", "top_k", "seed")
_NUMBERS = ("temperature", "top_p", "min_p", "typical_p", "repetition_penalty", "length_penalty")
_FLAGS = ("do_sample", "early_stopping", "return_full_text", "return_tensors", "clean_up_tokenization_spaces")
OPTIONS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_COUNTS, (int,)),
    **dict.fromkeys(_NUMBERS, (int, float)),
    **dict.fromkeys((*_FLAGS, "add_special_tokens", "continue_final_message"), (bool,)),
    "stop_strings": (str, list),
}
LEAST = {
    **dict.fromkeys(("max_new_tokens", "max_length", "num_beams", "num_return_sequences"), 1),
    **dict.fromkeys(("min_new_tokens", "min_length", "no_repeat_ngram_size", "top_k"), 0),
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p", "repetition_penalty"), 0),
}
OTHER_NAMES = {
    "max_tokens": "max_new_tokens",
    "max_completion_tokens": "max_new_tokens",
    "stop": "stop_strings",
    "n": "num_return_sequences",
}
CHAT_FORM = '`messages` must be a list such as [{"role": "user", "content": "a text"}]'
CHAT_ONLY = frozenset({"messages", "model", "stream", "stream_options", "user", "metadata", "store"})


class Model:
    """The pipeline, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._settings: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._name = str(kwargs["config"].get("model_name") or "model")
        self._folder = Path(kwargs["data_dir"]) / self._settings["model_binary_dir"]
        self.pipeline: Any = None

    def load(self) -> None:
        """Read weights and tokenizer, and build the pipeline; called once, before the first request."""
        device_map = self._settings.get("device_map")
        placed = {"device_map": device_map} if device_map else {}
        device = {} if device_map else {"device": "cuda" if torch.cuda.is_available() else "cpu"}
        self.pipeline = getattr(transformers, self._settings["pipeline_class"])(
            task=self._settings["task"],
            # All versions of transformers know this name of the option.
            model=self._read(self._settings["model_class"], torch_dtype=self._dtype(), **placed),
            **{name: self._read(kind) for name, kind in self._settings["parts"].items()},
            **self._settings["parameters"],
            **device,
        )

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the pipeline sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any] | Iterator[str]:
        """Answer each input, or, with `"stream": true`, yield the text for the one input in pieces.

        Raises:
            ValueError: the request is not of the form that is described at the top of this file.
        """
        shared = {key: value for key, value in request.items() if key not in ("instances", "stream")}
        inputs = shared.pop("inputs") if "inputs" in shared else [{}]
        asked = [self._asked(item, shared) for item in inputs]
        if request.get("stream"):
            check(len(asked) == 1, f"`stream` is for one input at a time; this request has {len(asked)}")
            return self._stream(*asked[0], Progress())
        return {"predictions": [self._write(prompt, options) for prompt, options in asked]}

    def postprocess(self, answer: Any) -> Any:
        """Change the answer before it is sent: add your own logic here. A streamed answer is an iterator."""
        return answer

    def chat_completions(self, request: dict[str, Any]) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """Answer a request of OpenAI's chat API: `messages`, and `max_tokens`, `temperature`, `stop`, ...

        Returns:
            A `chat.completion` object; with `"stream": true` an iterator of `chat.completion.chunk` objects.

        Raises:
            ValueError: the request is not what that API takes, or asks for what is not offered here.
        """
        given = {key: value for key, value in request.items() if value is not None}
        for name in ("frequency_penalty", "presence_penalty"):
            check(given.pop(name, 0) == 0, f"`{name}` is not offered; `repetition_penalty` is")
        messages = self._messages(given.get("messages"))
        options = self._options({key: value for key, value in given.items() if key not in CHAT_ONLY})
        goes_on = messages[-1]["role"] == "assistant"  # its last answer was cut off: write the rest of it
        prompt = self.pipeline.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on
        )
        options["add_special_tokens"] = False  # the template has written them
        about = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": given.get("model", self._name),
        }
        if given.get("stream"):
            check(options.get("num_return_sequences", 1) == 1, "a stream holds one choice: leave `n` out")
            with_usage = bool(given.get("stream_options", {}).get("include_usage"))
            return self._chunks(about, prompt, options, with_usage=with_usage)
        return self._completion(about, prompt, options)

    def _asked(self, item: Any, shared: dict[str, Any]) -> tuple[Prompt, dict[str, Any]]:
        """The prompt of one input, and the options to continue it with."""
        if isinstance(item, (str, list)):
            item = {("prompt" if isinstance(item, str) else "messages"): item}
        check(isinstance(item, dict), f"an input is a text, a chat or a mapping, not {type(item).__name__}")
        options = {**shared, **item}
        given = {"prompt", "messages"} & set(options)
        check(
            len(given) == 1, f"an input needs the key `prompt` or `messages`; this one has {sorted(options)}"
        )
        name = given.pop()
        prompt = options.pop(name)
        is_text = isinstance(prompt, str)
        check(
            name == "messages" or isinstance(prompt, (str, list)),
            f"`prompt` must be a text or a chat, not {prompt!r}",
        )
        check(name == "prompt" or not is_text, CHAT_FORM)
        return (prompt if is_text else self._messages(prompt)), self._options(options)

    def _messages(self, messages: Any) -> list[dict[str, Any]]:
        """The messages, checked; contents that are lists of texts become one text."""
        template = self.pipeline.tokenizer.chat_template
        check(template, "this model takes no messages, its tokenizer has no chat template: send a `prompt`")
        is_chat = isinstance(messages, list) and messages and all(isinstance(one, dict) for one in messages)
        check(is_chat, CHAT_FORM)
        checked = [{**one, "content": joined(one.get("content"))} for one in messages]
        for number, message in enumerate(checked):
            for key in ("role", "content"):
                check(isinstance(message.get(key), str), f"`messages[{number}].{key}` must be a text")
        return checked

    def _options(self, given: dict[str, Any]) -> dict[str, Any]:
        """The options under the names that transformers uses, checked."""
        options = {OTHER_NAMES.get(name, name): value for name, value in given.items()}
        unknown = sorted(set(options) - set(OPTIONS))
        check(not unknown, f"unknown options {unknown}; known are {sorted({*OPTIONS, *OTHER_NAMES})}")
        for name, value in options.items():
            kinds = OPTIONS[name]
            fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
            check(fits, f"`{name}` must be {' or '.join(kind.__name__ for kind in kinds)}, not {value!r}")
            least = LEAST.get(name)
            check(least is None or value >= least, f"`{name}` must be at least {least}, not {value!r}")
        if options.get("temperature") == 0:
            options = {**options, "do_sample": False}
            del options["temperature"]
        elif {"temperature", "top_p", "top_k", "min_p"} & set(options):
            options.setdefault("do_sample", True)
        if "stop_strings" in options:
            stops = options.pop("stop_strings")
            stops = [stops] if isinstance(stops, str) else stops
            check(all(isinstance(stop, str) and stop for stop in stops), "`stop` must hold texts, none empty")
            options.update({"stop_strings": stops, "tokenizer": self.pipeline.tokenizer} if stops else {})
        return options

    def _write(self, prompt: Prompt, options: dict[str, Any]) -> Any:
        options = dict(options)
        if "seed" in options:
            torch.manual_seed(options.pop("seed"))
        with torch.inference_mode(), reading_of_request():
            return self.pipeline(prompt, **options)

    def _stream(
        self, prompt: Prompt, options: dict[str, Any], progress: Progress
    ) -> Generator[str, None, None]:
        """The new text in pieces, written by a thread; closing this generator ends the thread."""
        streamer = transformers.TextIteratorStreamer(
            self.pipeline.tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        errors = []

        def write() -> None:
            try:
                criteria = transformers.StoppingCriteriaList([progress])
                self._write(prompt, {**options, "streamer": streamer, "stopping_criteria": criteria})
            except Exception as error:  # noqa: BLE001 - raised again where the pieces are read
                errors.append(error)
            finally:
                streamer.end()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield from filter(None, streamer)
        finally:
            progress.stop.set()
            thread.join()
        if errors:
            raise errors[0]

    def _completion(self, about: dict[str, Any], prompt: str, options: dict[str, Any]) -> dict[str, Any]:
        prompt_tokens, completion_tokens = self._count(prompt), 0
        choices = []
        for index, written in enumerate(self._write(prompt, {**options, "return_tensors": True})):
            tokens = self._until_end(written["generated_token_ids"][prompt_tokens:])
            completion_tokens += len(tokens)
            text, finish_reason = self._ended(tokens, options)
            message = {"role": "assistant", "content": text}
            choices.append({"index": index, "message": message, "finish_reason": finish_reason})
        usage = _usage(prompt_tokens, completion_tokens)
        return {**about, "object": "chat.completion", "choices": choices, "usage": usage}

    def _chunks(
        self, about: dict[str, Any], prompt: str, options: dict[str, Any], *, with_usage: bool
    ) -> Iterator[dict[str, Any]]:
        about = {**about, "object": "chat.completion.chunk"}

        def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
            return {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

        progress = Progress()
        yield chunk({"role": "assistant", "content": ""})
        with contextlib.closing(self._stream(prompt, options, progress)) as pieces:
            for piece in before_any(pieces, options.get("stop_strings", [])):
                yield chunk({"content": piece})
        tokens = self._until_end(progress.tokens)
        yield chunk({}, self._ended(tokens, options)[1])
        if with_usage:
            yield {**about, "choices": [], "usage": _usage(self._count(prompt), len(tokens))}

    def _count(self, prompt: str) -> int:
        return len(self.pipeline.tokenizer(prompt, add_special_tokens=False)["input_ids"])

    def _until_end(self, tokens: list[int]) -> list[int]:
        """The tokens up to and with the one that ends a text: shorter ones of several texts are padded."""
        ends = self._end_tokens()
        length = next((place for place, token in enumerate(tokens, 1) if token in ends), len(tokens))
        return tokens[:length]

    def _ended(self, tokens: list[int], options: dict[str, Any]) -> tuple[str, str]:
        """The text before any stop string, and why it ends there: `stop`, or `length` if it was cut off."""
        text = self.pipeline.tokenizer.decode(tokens, skip_special_tokens=True)
        kept = "".join(before_any([text], options.get("stop_strings", [])))
        ended = kept != text or not self._end_tokens().isdisjoint(tokens[-1:])
        return kept, "stop" if ended else "length"

    def _end_tokens(self) -> set[int]:
        config = getattr(self.pipeline, "generation_config", None) or self.pipeline.model.generation_config
        ends = config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _dtype(self) -> Any:
        """The number format of the weights; `auto` is that in which they were saved."""
        name = self._settings.get("dtype", "auto")
        known = ("auto", "float32", "float16", "bfloat16")
        if name not in known:
            raise ValueError(f"model_metadata.dtype is {name!r}; it must be one of {known}")
        return name if name == "auto" else getattr(torch, name)

    def _read(self, kind: str, **options: Any) -> Any:
        """One part of the pipeline, by the name of its class in transformers."""
        if self._settings["trust_remote_code"]:
            options["trust_remote_code"] = True
        return getattr(transformers, kind).from_pretrained(self._folder, local_files_only=True, **options)


class Progress(transformers.StoppingCriteria):  # type: ignore[misc]
    """Sees each new token of one text, and ends the writing once `stop` is set."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.tokens: list[int] = []

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Whether each of the texts is finished; `generate` asks after each token."""
        self.tokens.append(int(input_ids[0, -1]))
        return torch.full((len(input_ids),), self.stop.is_set(), dtype=torch.bool, device=input_ids.device)


def before_any(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The text before the first of `stops`, in pieces; what may be the start of one is held back."""
    held = ""
    for piece in pieces:
        held += piece
        found = [held.index(stop) for stop in stops if stop in held]
        if found:
            held = held[: min(found)]
            break
        starts = {stop[:length] for stop in stops for length in range(1, len(stop))}
        kept = max((len(start) for start in starts if held.endswith(start)), default=0)
        yield held[: len(held) - kept]
        held = held[len(held) - kept :]
    if held:
        yield held


def joined(content: Any) -> Any:
    """The text of a message's content, which may also be a list of parts with a `text` each."""
    if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
        return "".join(str(part["text"]) for part in content)
    return content


class BadRequestError(ValueError):
    """What is wrong with a request, which is answered with 400."""

    bad_request = True


@contextlib.contextmanager
def reading_of_request() -> Iterator[None]:
    """Answer 400 for options that are refused outside of the model itself: some exclude others."""
    try:
        yield
    except ValueError as error:
        passed = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
        if passed & {"_call_impl", "postprocess"}:  # the first is how torch calls a model
            raise
        raise BadRequestError(str(error)) from error


def check(holds: object, message: str) -> None:
    """Raise BadRequestError, with what is wrong with the request, unless `holds`."""
    if not holds:
        raise BadRequestError(message)


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
