"""The words that an engine is given, and what its refusals are called."""

from pathlib import Path

import pytest

from truss.build.containers import image_name
from truss.build.engine import Engine, Start, find_engine
from truss.config import parse_config
from truss.errors import EngineError

END = "Run 'docker run --help' for more information"


def test_a_container_listens_on_the_loopback_only():
    start = Start(
        "truss/iris:1",
        Path("/home/me/iris"),
        8123,
        environment={"MODE": "fast"},
        mounts={"/secrets": Path("/home/me/.truss/s")},
        gpus=True,
    )
    assert start.words() == [
        *("create", "--init", "--publish", "127.0.0.1:8123:8080"),
        *("--label", "io.truss.container=/home/me/iris", "--env", "MODE=fast"),
        *("--mount", "type=bind,source=/home/me/.truss/s,target=/secrets,readonly"),
        *("--gpus", "all", "truss/iris:1"),
    ]
    assert "127.0.0.1::8080" in Start("x", Path("/x")).words()


def test_no_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="no container engine here") as caught:
        find_engine()
    assert "truss serve" in caught.value.hint
    with pytest.raises(EngineError, match="no container engine 'doker' here"):
        find_engine("doker")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Error: Bind for 127.0.0.1:8080 failed: port is already allocated.", "--port"),
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "DOCKER_HOST"),
        ("permission denied while trying to connect", "right to use"),
        ("could not select device driver with capabilities: [[gpu]]", "NVIDIA"),
        ("denied: requested access to the resource is denied", "docker login"),
        ("unauthorized: authentication required", "podman login"),
        ("write /image.tar: no space left on device", "free some space"),
    ],
)
def test_a_refusal_says_what_to_do(said, hint, tmp_path):
    program = tmp_path / "docker"
    program.write_text(
        f"#!/bin/sh\necho first >&2\necho '{said}' >&2\necho >&2\necho \"{END}\" >&2\nexit 125\n"
    )
    program.chmod(0o755)
    engine = Engine(str(program))
    for ask in (lambda: engine.start(Start("x", Path("/x"))), lambda: engine.load([b"archive"])):
        with pytest.raises(EngineError) as caught:
            ask()
        assert said in caught.value.message
        assert hint in caught.value.hint
    assert not engine.has_image("x")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("My Model (v2)", "my-model-v2"), ("iris", "iris"), ("日本", "model"), ("_", "model")],
)
def test_images_are_called_after_the_model(name, expected):
    assert image_name(parse_config(f"model_name: '{name}'"), Path("/x")) == expected
    assert image_name(parse_config(""), Path("/a/b c")) == "b-c"
