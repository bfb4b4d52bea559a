"""On a machine with a GPU: every part of a pipeline is on it, and images come out."""

from pathlib import Path

import pytest

pytest.importorskip("diffusers")

import torch
from diffusers_pipelines import text_to_image, unconditional

import truss
from truss.model.loader import load_model
from truss.testing.server import running_server

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


@pytest.mark.parametrize("build", [unconditional, text_to_image])
def test_every_part_is_on_the_gpu(build, tmp_path: Path) -> None:
    truss.create(build(), tmp_path / "here")
    copy = load_model(tmp_path / "here", truss.load(tmp_path / "here").spec.config)
    parts = [part for part in copy.model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert parts
    assert {weight.device.type for part in parts for weight in part.parameters()} == {"cuda"}
    seen: set[str] = set()

    def note(_, args, kwargs):
        seen.update(one.device.type for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor))

    copy.model.pipeline.unet.register_forward_pre_hook(note, with_kwargs=True)
    given = {} if build is unconditional else {"prompt": "a red kite"}
    answer = copy.predict({"inputs": [{**given, "seed": 1}], "num_inference_steps": 2})
    # The time of a step may stay with the scheduler, on the CPU; noise and prompt do not.
    assert "cuda" in seen
    assert len(answer["predictions"]) == 1


def test_over_http(tmp_path: Path) -> None:
    request = {"inputs": ["a red kite"], "seed": 1, "num_inference_steps": 2}
    truss.create(text_to_image(), tmp_path / "here")
    with running_server(tmp_path / "here") as server:
        first, second = (server.predict(request) for _ in range(2))
    assert first.status == 200, first.body
    assert first.json() == second.json()
