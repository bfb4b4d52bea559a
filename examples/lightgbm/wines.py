"""Package a gradient-boosted classifier with categories and missing values, and ask the packaged copy.

Run it with `python examples/lightgbm/wines.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import lightgbm
import pandas as pd
from sklearn.datasets import load_wine

import truss


def main() -> None:
    wine = load_wine(as_frame=True)
    table = wine.data[["alcohol", "proline"]].assign(
        hue=pd.Categorical(wine.data["hue"].gt(1).map({True: "pale", False: "deep"}))
    )
    model = lightgbm.LGBMClassifier(n_estimators=50, verbose=-1).fit(table, wine.target)

    with TemporaryDirectory() as folder:
        request = {
            "inputs": [
                {"alcohol": 14.2, "proline": 1065.0, "hue": "pale"},
                {"alcohol": None, "proline": 500.0, "hue": "deep"},
            ]
        }
        scaf = truss.create(model, Path(folder) / "wines", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
