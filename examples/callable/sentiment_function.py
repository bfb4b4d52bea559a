"""Package a plain function, with the variables that it uses, and ask the packaged copy.

Run it with `python examples/callable/sentiment_function.py`.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import truss


def make_scorer(weights: dict[str, float]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that scores texts with the weights it was made with."""

    def score(request: dict[str, Any]) -> dict[str, Any]:
        texts = [text.lower().split() for text in request["inputs"]]
        return {"predictions": [sum(weights.get(word, 0.0) for word in words) for words in texts]}

    return score


def main() -> None:
    score = make_scorer({"kind": 1.0, "warm": 0.5, "dull": -1.0})

    with TemporaryDirectory() as folder:
        request = {"inputs": ["A warm and kind film", "Dull"]}
        scaf = truss.create(score, Path(folder) / "sentiment", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
