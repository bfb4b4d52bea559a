"""On a machine with a GPU: the model, the inputs and what the code calls its device are on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import truss
from truss.frameworks.torch.adapter import TorchFramework
from truss.testing.server import running_server

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

FRAMEWORK = TorchFramework()
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


def copy_of(model: Any, folder: Path) -> Any:
    saved = FRAMEWORK.save(model, folder)
    namespace: dict[str, Any] = {"__name__": "model"}
    exec(compile(saved.model_class, "model.py", "exec"), namespace)
    copy = namespace["Model"](data_dir=folder, config={"model_metadata": dict(saved.model_metadata)})
    copy.load()
    return copy


class Located(nn.Module):
    """Notes where its inputs are; makes a tensor on the device that it was told when it was made."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2, device=device)
        self.plain = torch.ones(2, device=device)
        self.device = torch.device(device)
        self.seen: list[str] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.device.type)
        return self.layer(x) + self.plain + torch.zeros(2, device=self.device)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_module_packaged_anywhere_is_served_on_the_gpu(device, tmp_path):
    model = Located(device)
    copy = copy_of(model, tmp_path)
    assert {tensor.device.type for tensor in copy.model.parameters()} == {"cuda"}
    assert copy.model.plain.device.type == copy.model.device.type == "cuda"
    answer = copy.predict({"inputs": ROWS})["predictions"]
    assert copy.model.seen == ["cuda"]
    live = FRAMEWORK.answer(model, {"inputs": ROWS})["predictions"]
    assert model.seen == [device]
    assert np.allclose(answer, live, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_module_packaged_on_the_gpu_is_served_without_one(device, tmp_path, monkeypatch):
    model = Located(device)
    live = FRAMEWORK.answer(model, {"inputs": ROWS})["predictions"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    copy = copy_of(model, tmp_path)
    assert {tensor.device.type for tensor in copy.model.parameters()} == {"cpu"}
    assert np.allclose(copy.predict({"inputs": ROWS})["predictions"], live, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_script_is_served_on_the_gpu(device, tmp_path):
    layer = nn.Linear(3, 2, device=device)
    copy = copy_of(torch.jit.script(layer), tmp_path)
    assert copy.model.weight.device.type == "cuda"
    expected = layer(torch.tensor(ROWS, device=device)).tolist()
    assert np.allclose(copy.predict({"inputs": ROWS})["predictions"], expected, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_exported_program_is_served_on_the_gpu(device, tmp_path):
    layer = nn.Linear(3, 2, device=device).eval()
    program = torch.export.export(layer, (torch.zeros(2, 3, device=device),))
    copy = copy_of(program, tmp_path)
    assert {tensor.device.type for tensor in copy.model.parameters()} == {"cuda"}
    expected = layer(torch.tensor(ROWS, device=device)).tolist()
    assert np.allclose(copy.predict({"inputs": ROWS})["predictions"], expected, atol=1e-5)
    assert next(iter(program.state_dict.values())).device.type == device


def test_half_precision_over_http(tmp_path):
    model = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 2)).to("cuda", torch.float16)
    handle = truss.create(model, tmp_path / "truss", examples={"inputs": ROWS})
    with running_server(handle.truss_dir) as server:
        answer = server.predict({"inputs": ROWS}).json()["predictions"]
    expected = model(torch.tensor(ROWS, dtype=torch.float16, device="cuda")).tolist()
    assert np.allclose(answer, expected, rtol=1e-2, atol=1e-2)
