"""Package a random forest that tells irises apart, and ask the packaged copy.

Run it with `python examples/sklearn/iris_random_forest.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import truss


def main() -> None:
    iris = load_iris()
    forest = RandomForestClassifier(n_estimators=50, random_state=0)
    forest.fit(iris.data, iris.target_names[iris.target])

    with TemporaryDirectory() as folder:
        # The example is answered by the packaged copy at once, and kept with its answer as a test.
        request = {"inputs": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}
        scaf = truss.create(forest, Path(folder) / "iris", examples=[request])
        print(sorted(path.name for path in (Path(folder) / "iris").iterdir()))
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
