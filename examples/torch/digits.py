"""Train a small network on digits, package it, and ask the packaged copy.

Run it with `python examples/torch/digits.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from sklearn.datasets import load_digits
from torch import nn

import truss


class Digits(nn.Module):
    """Tells ten digits apart; saved by value, since it is defined in the script itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The digit that each image of 64 pixels, from 0 to 16, shows."""
        return self.layers(pixels / 16).argmax(dim=1)


def train(model: Digits, pixels: torch.Tensor, digits: torch.Tensor) -> None:
    """A hundred steps over all images."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.layers(pixels / 16), digits).backward()
        optimizer.step()


def main() -> None:
    torch.manual_seed(0)
    images = load_digits()
    model = Digits()
    train(model, torch.tensor(images.data, dtype=torch.float32), torch.tensor(images.target))

    with TemporaryDirectory() as folder:
        request = {"inputs": images.data[:3].tolist()}
        scaf = truss.create(model, Path(folder) / "digits", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
