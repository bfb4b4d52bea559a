"""Package a gradient-boosted classifier of tumours, and ask the packaged copy.

Run it with `python examples/xgboost/breast_cancer.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import xgboost
from sklearn.datasets import load_breast_cancer

import truss


def main() -> None:
    tumours = load_breast_cancer()
    model = xgboost.XGBClassifier(n_estimators=50, max_depth=3).fit(tumours.data, tumours.target)

    with TemporaryDirectory() as folder:
        request = {"inputs": tumours.data[[0, 19]].tolist()}
        scaf = truss.create(model, Path(folder) / "tumours", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
