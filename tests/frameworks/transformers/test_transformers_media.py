"""Images and sounds in every form that a request can bring them in."""

import base64
import io
import wave
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import pipeline

import truss
from truss.errors import InvalidInputError
from truss.frameworks.transformers.adapter import TransformersFramework
from truss.frameworks.transformers.tasks import media
from truss.testing.server import running_server

FRAMEWORK = TransformersFramework()
RATE = 16000


@pytest.fixture(scope="module")
def images(tiny: SimpleNamespace) -> Any:
    kind = getattr(transformers, "ViTImageProcessorPil", transformers.ViTImageProcessor)
    processor = kind(size={"height": 16, "width": 16})
    return pipeline("image-classification", model=tiny.vit(), image_processor=processor, top_k=1)


@pytest.fixture(scope="module")
def sounds() -> Any:
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16, 16),
        conv_kernel=(10, 3),
        conv_stride=(5, 2),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        num_labels=3,
    )
    model = transformers.Wav2Vec2ForSequenceClassification(config).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE)
    return pipeline("audio-classification", model=model, feature_extractor=extractor, top_k=1)


@pytest.fixture(scope="module")
def served_images(images: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("served") / "images"
    truss.create(images, folder)
    with running_server(folder) as server:
        yield server


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def picture(colour: str, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(file, format=form)
    return file.getvalue()


def wav(samples: np.ndarray, width: int = 2, channels: int = 1) -> bytes:
    """The samples, from -1 to 1, as a WAV file of integers of that many bytes."""
    scaled = (samples + 1) * 127 if width == 1 else samples * (2 ** (8 * width - 1) - 1)
    whole = scaled.astype("u1" if width == 1 else f"<i{width}")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(RATE)
        out.writeframes(np.repeat(whole, channels).tobytes())
    return file.getvalue()


def score(model: Any, item: Any) -> float:
    return best(FRAMEWORK.answer(model, {"inputs": [item]}))


def best(answer: Any) -> float:
    """The score of the first input's best label; some pipelines put a list around it."""
    first = answer["predictions"][0]
    return float((first[0] if isinstance(first, list) else first)["score"])


def test_images_in_every_form_are_answered_alike(images: Any, tmp_path: Path) -> None:
    data = picture("navy")
    (tmp_path / "navy.png").write_bytes(data)
    expected = images(str(tmp_path / "navy.png"))[0]["score"]
    array = np.asarray(Image.open(io.BytesIO(data)))
    for item in (text(data), f"data:image/png;base64,{text(data)}", data, memoryview(data), array):
        assert score(images, item) == pytest.approx(expected)
    assert score(images, text(picture("red"))) != pytest.approx(expected)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_in_every_form_are_answered_alike(
    sounds: Any, width: int, channels: int, tmp_path: Path
) -> None:
    samples = np.sin(np.linspace(0, 300, RATE // 4)) * 0.5
    expected = sounds({"raw": samples.astype("float32"), "sampling_rate": RATE})[0]["score"]
    data = wav(samples, width, channels)
    for item in (data, text(data), f"data:audio/wav;base64,{text(data)}"):
        assert score(sounds, item) == pytest.approx(expected, rel=1e-2 if width == 1 else 1e-3)


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[str]:
    """The address under which the files of a folder are served."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_images_and_sounds_are_fetched_from_addresses(
    images: Any, sounds: Any, addresses: str, tmp_path: Path
) -> None:
    tone = wav(np.sin(np.linspace(0, 300, RATE // 4)) * 0.5)
    for pipe, name, data in ((images, "navy.png", picture("navy")), (sounds, "tone.wav", tone)):
        (tmp_path / name).write_bytes(data)
        assert score(pipe, f"{addresses}/{name}") == pytest.approx(score(pipe, data))
        with pytest.raises(Exception, match=r"404|cannot identify image"):
            score(pipe, f"{addresses}/missing-{name}")


def test_over_http_as_base64(images: Any, sounds: Any, tmp_path: Path) -> None:
    tone = wav(np.sin(np.linspace(0, 300, RATE // 4)) * 0.5)
    for name, pipe, data in (("images", images, picture("navy")), ("sounds", sounds, tone)):
        truss.create(pipe, tmp_path / name, examples=[{"inputs": [text(data)]}])
        with running_server(tmp_path / name) as server:
            answer = server.predict({"inputs": [text(data)]}).json()
        assert best(answer) == pytest.approx(score(pipe, data))


@pytest.mark.parametrize("form", ["PNG", "BMP"])
def test_over_http_an_image_file_is_a_whole_request(form: str, served_images: Any, images: Any) -> None:
    data = picture("navy", form)
    headers = {"Content-Type": f"image/{form.lower()}"}
    answer = served_images.request("POST", "/v1/models/model:predict", data, headers)
    assert answer.status == 200
    assert best(answer.json()) == pytest.approx(score(images, data))


def test_over_http_a_file_that_is_no_image_is_refused(served_images: Any) -> None:
    headers = {"Content-Type": "image/png"}
    answer = served_images.request("POST", "/v1/models/model:predict", b"no image", headers)
    assert answer.status == 400
    assert "8 bytes are not an image" in answer.json()["error"]["message"]


def test_bytes_that_are_no_image_are_the_requests_fault(images: Any, tmp_path: Path) -> None:
    handle = truss.create(images, tmp_path / "images")
    with pytest.raises(InvalidInputError, match="these 8 bytes are not an image"):
        handle.predict({"inputs": [b"no image"]})


@pytest.mark.parametrize(
    ("task", "parts", "expected"),
    [
        ("image-classification", {"image_processor"}, "image"),
        ("depth-estimation", {"image_processor"}, "image"),
        ("zero-shot-image-classification", {"image_processor", "tokenizer"}, "image"),
        ("automatic-speech-recognition", {"feature_extractor", "tokenizer"}, "audio"),
        ("zero-shot-audio-classification", {"feature_extractor"}, "audio"),
        ("text-classification", {"tokenizer"}, None),
    ],
)
def test_the_task_says_what_inputs_hold(task: str, parts: set[str], expected: str | None) -> None:
    assert media(task, parts) == expected
