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
        ("sentence_transformers/closest_help_page.py", "closest: Sending a parcel back"),
        ("xgboost/breast_cancer.py", "{'predictions': [0, 1], 'probabilities': [["),
        ("lightgbm/wines.py", "{'predictions': [0, 1], 'probabilities': [["),
        ("catboost/diabetes.py", "{'predictions': [1"),
        ("torch/digits.py", "array([0, 1, 2])"),
        ("keras/digits.py", "{'predictions': [["),
        ("tensorflow/iris.py", "[0, 1, 2]"),
        ("onnx/network.py", "[6.0]"),
        ("statsmodels/blood_pressure.py", "{'predictions': [2"),
        ("mlflow/registered_model.py", "{'predictions': [1"),
        ("jax/classifier.py", "array([1, 0]"),
        ("diffusers/noise_to_image.py", "a PNG of 32 by 32 pixels"),
        ("spacy/teas.py", "'text': 'Earl Grey', 'start': 9, 'end': 18, 'label': 'TEA'"),
    ],
)
def test_the_script_prints_its_prediction(script, prediction, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert prediction in done.stdout
    assert list(tmp_path.iterdir()) == []
