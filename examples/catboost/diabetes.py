"""Package a boosted regression, and ask the packaged copy.

Run it with `python examples/catboost/diabetes.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import catboost
from sklearn.datasets import load_diabetes

import truss


def main() -> None:
    patients = load_diabetes(as_frame=True)
    model = catboost.CatBoostRegressor(iterations=100, verbose=False, allow_writing_files=False)
    model.fit(patients.data, patients.target)

    with TemporaryDirectory() as folder:
        request = {"inputs": patients.data[:2].to_numpy().tolist()}
        scaf = truss.create(model, Path(folder) / "diabetes", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
