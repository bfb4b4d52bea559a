"""`truss.create` takes the path of a model's file, as text or as a Path."""

from __future__ import annotations

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import truss
from truss.errors import UntrustedFileError

X, y = load_iris(return_X_y=True)


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_path_is_opened_and_packaged(tmp_path, kind):
    model = LogisticRegression(max_iter=500).fit(X, y)
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    handle = truss.create(kind(path), tmp_path / "iris", examples=X[:3], trust_pickle=True)
    assert handle.predict({"inputs": X})["predictions"] == model.predict(X).tolist()
    assert handle.check_examples() == {}


def test_nothing_is_made_of_a_pickle_that_is_not_trusted(tmp_path):
    joblib.dump(LogisticRegression().fit(X[:100], y[:100]), tmp_path / "model.joblib")
    with pytest.raises(UntrustedFileError):
        truss.create(tmp_path / "model.joblib", tmp_path / "iris")
    assert not (tmp_path / "iris").exists()
