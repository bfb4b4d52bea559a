"""A Truss to build."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import truss

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """A Truss of a classifier of flowers."""
    features, species = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(features, species)
    truss.create(model, tmp_path / "iris", name="iris", examples=[{"inputs": ROWS}])
    return tmp_path / "iris"
