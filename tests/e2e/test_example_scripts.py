"""The example scripts run by themselves and print a prediction."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("script", "prediction"),
    [
        ("sklearn/iris_random_forest.py", "['setosa', 'virginica']"),
        ("sklearn/iris_over_http.py", '{"predictions":["setosa"],"probabilities":[['),
        ("callable/sentiment_function.py", "{'predictions': [1.5, -1.0]}"),
        (
            "transformers/tiny_t5.py",
            "[{'translation_text': 'hallo welt'}, {'translation_text': 'gute nacht'}]",
        ),
        ("transformers/sentence_embeddings.py", "closest: Share prices fell sharply on Monday."),
    ],
)
def test_the_script_prints_its_prediction(script, prediction, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert prediction in done.stdout
    assert list(tmp_path.iterdir()) == []
