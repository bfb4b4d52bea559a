"""The shared suite, over the kinds of modules people train."""

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn
from torch.nn import functional

from truss.frameworks.torch.adapter import TorchFramework
from truss.testing.environments import OwnEnvironment, ServedAlone

DIGITS = load_digits()


def trained(model: nn.Module, inputs: Any, targets: Any, loss: Any) -> nn.Module:
    """The model after a few steps on real data."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
    return model


def train_on_digits(model: nn.Module, *shape: int) -> nn.Module:
    images = torch.tensor(DIGITS.data, dtype=torch.float32).reshape(-1, *shape)
    return trained(model, images, torch.tensor(DIGITS.target), functional.cross_entropy)


def answer(request: Any) -> Any:
    return request


class TorchConformance(ServedAlone):
    framework = TorchFramework()
    strangers = (answer, np.zeros(3), torch.zeros(3), nn.Linear(1, 1).state_dict(), torch.relu)
    relative_tolerance = 1e-4

    def make_request(self) -> Any:
        return {"inputs": DIGITS.data[:4].tolist()}


class TestPerceptron(OwnEnvironment, TorchConformance):
    def make_model(self) -> Any:
        torch.manual_seed(0)
        layers = nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10)
        return train_on_digits(nn.Sequential(*layers), 64)


class TestConvolutions(TorchConformance):
    def make_request(self) -> Any:
        return {"inputs": DIGITS.images[:3, None].tolist()}

    def make_model(self) -> Any:
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        return train_on_digits(nn.Sequential(*layers, nn.Linear(36, 10), nn.Softmax(dim=1)), 1, 8, 8)


class TestDoublePrecision(TorchConformance):
    relative_tolerance = 1e-9

    def make_request(self) -> Any:
        return {"inputs": load_diabetes().data[:3].tolist()}

    def make_model(self) -> Any:
        torch.manual_seed(0)
        features, target = load_diabetes(return_X_y=True)
        model = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        return trained(model, torch.tensor(features), torch.tensor(target)[:, None], functional.mse_loss)


class TestTransformer(TorchConformance):
    def make_request(self) -> Any:
        return {"inputs": (DIGITS.images[:3] / 16).tolist()}

    def make_model(self) -> Any:
        torch.manual_seed(0)
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)


WIDE = """
import torch
from torch import nn

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.colours = nn.Embedding(4, 3)
        self.layer = nn.Linear(5, 2)

    def forward(self, size, colour):
        hidden = self.layer(torch.cat([size, self.colours(colour)], dim=1))
        return {"price": hidden[:, 0], "rank": hidden.argmax(dim=1)}
"""


def wide() -> nn.Module:
    """A module of a notebook: two inputs, one of them whole numbers, and a dict of outputs."""
    session: dict[str, Any] = {"__name__": "__main__"}
    exec(WIDE, session)
    torch.manual_seed(0)
    model: nn.Module = session["Wide"]()
    return model


class TestSeveralInputsAndOutputs(TorchConformance):
    def make_request(self) -> Any:
        return {"inputs": [{"size": [1.5, 2.0], "colour": 3}, {"colour": 0, "size": [0.5, 1.0]}]}

    def make_model(self) -> Any:
        return wide()


class TestTracedScript(TestConvolutions):
    def make_model(self) -> Any:
        return torch.jit.trace(super().make_model().eval(), torch.zeros(2, 1, 8, 8))


class TestCompiledScript(TestPerceptron):
    def make_model(self) -> Any:
        return torch.jit.script(super().make_model())


class TestExportedProgram(TestPerceptron):
    def make_model(self) -> Any:
        rows = torch.export.Dim("rows")
        return torch.export.export(
            super().make_model().eval(), (torch.zeros(3, 64),), dynamic_shapes=({0: rows},)
        )


class TestExportedForOneSize(TestConvolutions):
    def make_model(self) -> Any:
        return torch.export.export(super().make_model().eval(), (torch.zeros(3, 1, 8, 8),))


class TestExportedWithSeveralInputs(TestSeveralInputsAndOutputs):
    def make_model(self) -> Any:
        return torch.export.export(
            super().make_model().eval(), (torch.zeros(2, 2),), {"colour": torch.zeros(2, dtype=torch.int64)}
        )
