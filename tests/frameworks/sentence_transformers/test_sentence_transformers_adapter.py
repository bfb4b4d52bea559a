"""What the sentence-transformers adapter answers beside the library itself, what it refuses and says."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers
import torch
from sentence_models import TEXTS, cross_encoder, encoder
from sentence_transformers import SentenceTransformer, SparseEncoder

import truss
from truss.errors import PackagingError
from truss.frameworks.registry import framework_for
from truss.frameworks.sentence_transformers import cross_model_class, model_class
from truss.frameworks.sentence_transformers.adapter import SentenceTransformersFramework
from truss.testing.server import running_server

FRAMEWORK = SentenceTransformersFramework()

LOCAL_MODULE = '''
from sentence_transformers.sentence_transformer.modules import Module


class {name}(Module):
    """Adds to each vector the number of tokens in its batch, padding included."""

    config_keys = []

    def __init__(self):
        super().__init__()

    def forward(self, features, **options):
        length = features["attention_mask"].shape[1]
        features["sentence_embedding"] = features["sentence_embedding"] + {factor} * length
        return features

    def save(self, output_path, *args, **kwargs):
        self.save_config(output_path)
'''


class Louder(SentenceTransformer):
    def encode(self, *args: Any, **kwargs: Any) -> Any:
        return super().encode(*args, **kwargs) * 10


class Local(torch.nn.Module):
    __module__ = "__main__"

    def forward(self, features: Any) -> Any:
        return features


def packaged(model: Any, folder: Path, kind: Any = model_class) -> Any:
    saved = FRAMEWORK.save(model, folder)
    copy = kind.Model(data_dir=folder, config={"model_metadata": saved.model_metadata})
    copy.load()
    return copy


def with_module(folder: Path, name: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An encoder with a module of a file of the user's own."""
    (folder / f"{name.lower()}_module.py").write_text(LOCAL_MODULE.format(name=name, factor=factor))
    monkeypatch.syspath_prepend(folder)
    kind = getattr(importlib.import_module(f"{name.lower()}_module"), name)
    return SentenceTransformer(modules=[*encoder(), kind()], device="cpu")


def test_models_find_this_framework_and_not_that_of_torch():
    for model in (encoder(), cross_encoder(), Louder(modules=list(encoder()))):
        assert framework_for(model).name == "sentence_transformers"


def test_vectors_are_those_of_the_library(tmp_path):
    model = encoder()
    copy = packaged(model, tmp_path)
    vectors = copy.predict({"inputs": TEXTS})["predictions"]
    np.testing.assert_allclose(vectors, model.encode(TEXTS), atol=1e-6)
    assert vectors.shape == (3, 384)
    assert list(tmp_path.glob("model/*.safetensors"))
    assert not [*tmp_path.rglob("*.bin"), *tmp_path.rglob("README.md")]


def test_texts_that_mean_the_same_are_close(tmp_path):
    vectors = packaged(encoder(), tmp_path).predict({"inputs": TEXTS})["predictions"]
    assert vectors[0] @ vectors[1] > 0.4 > vectors[0] @ vectors[2]


def test_tasks_and_prompts_are_put_before_the_texts(tmp_path):
    prompts = {"query": "Find: ", "document": "", "shout": "LOUD: "}
    model = encoder(prompts=prompts)
    copy = packaged(model, tmp_path)
    for options, prefix in (({"task": "query"}, "Find: "), ({"prompt_name": "shout"}, "LOUD: "), ({}, "")):
        answer = copy.predict({"inputs": TEXTS, **options})["predictions"]
        expected = encoder().encode([prefix + text for text in TEXTS])
        np.testing.assert_allclose(answer, expected, atol=1e-6)


def test_a_default_prompt_a_length_and_dimensions_are_kept(tmp_path):
    model = encoder(prompts={"shout": "LOUD: "}, default_prompt_name="shout", truncate_dim=16)
    model.max_seq_length = 5
    answer = packaged(model, tmp_path).predict({"inputs": TEXTS})["predictions"]
    assert answer.shape == (3, 16)
    np.testing.assert_allclose(answer, model.encode(TEXTS), atol=1e-6)
    assert not np.allclose(answer, encoder(truncate_dim=16).encode(TEXTS), atol=1e-2)


def test_half_precision_stays_half_precision(tmp_path):
    copy = packaged(encoder().to(torch.bfloat16), tmp_path)
    assert {parameter.dtype for parameter in copy.model.parameters()} == {torch.bfloat16}


def test_the_mode_of_the_live_model_is_put_back(tmp_path):
    model = encoder()
    model.train()
    FRAMEWORK.save(model, tmp_path)
    FRAMEWORK.answer(model, {"inputs": TEXTS})
    assert model.training


@pytest.mark.parametrize("labels", [1, 3])
def test_pairs_are_scored_as_the_library_scores_them(labels, tmp_path):
    model = cross_encoder(labels, activation_fn=torch.nn.Tanh())
    pairs = [["a question", text] for text in TEXTS]
    scores = packaged(model, tmp_path, cross_model_class).predict({"inputs": pairs})["predictions"]
    assert scores.shape == ((3,) if labels == 1 else (3, 3))
    # Scores near zero are rounded by the size of those that they were computed from.
    np.testing.assert_allclose(scores, model.predict(pairs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [encoder, cross_encoder])
def test_code_beside_the_weights_is_trusted_only_where_there_is_some(make, tmp_path):
    saved = FRAMEWORK.save(make(), tmp_path)
    assert saved.model_metadata["trust_remote_code"] is False
    assert saved.pickled_objects == ()


class TestModulesOfTheUser:
    def test_a_file_with_one_goes_along(self, tmp_path, monkeypatch):
        (tmp_path / "code").mkdir()
        model = with_module(tmp_path / "code", "Shift", 0.0, monkeypatch)
        handle = truss.create(model, tmp_path / "shift", examples=[{"inputs": TEXTS}])
        assert (tmp_path / "shift" / "packages" / "shift_module.py").is_file()
        assert "trust_remote_code: true" in (tmp_path / "shift" / "config.yaml").read_text()
        assert "mode: rows" in (tmp_path / "shift" / "config.yaml").read_text()
        answer = handle.predict({"inputs": TEXTS})["predictions"]
        np.testing.assert_allclose(answer, model.encode(TEXTS), atol=1e-6)

    def test_one_that_sees_the_padding_is_given_a_text_at_a_time(self, tmp_path, monkeypatch):
        (tmp_path / "code").mkdir()
        (tmp_path / "data").mkdir()
        model = with_module(tmp_path / "code", "Padded", 1.0, monkeypatch)
        saved = FRAMEWORK.save(model, tmp_path / "data")
        assert saved.batching == "none"
        assert "not joined" in saved.notes[0]
        together = FRAMEWORK.answer(model, {"inputs": TEXTS})["predictions"]
        separate = [FRAMEWORK.answer(model, {"inputs": [text]})["predictions"][0] for text in TEXTS]
        np.testing.assert_allclose(together, separate, atol=1e-6)
        assert not np.allclose(together, model.encode(TEXTS, batch_size=3), atol=1e-2)

    def test_one_that_only_this_process_knows_is_refused(self, tmp_path):
        model = SentenceTransformer(modules=[*encoder(), Local()])
        with pytest.raises(PackagingError, match=r"Local.*this Python process only"):
            FRAMEWORK.save(model, tmp_path)
        assert list(tmp_path.iterdir()) == []


class TestRefused:
    def test_classes_with_code_of_their_own(self, tmp_path):
        with pytest.raises(PackagingError, match=r"Louder is neither.*would be lost"):
            FRAMEWORK.save(Louder(modules=list(encoder())), tmp_path)

    def test_other_kinds_of_encoders(self, tmp_path):
        model = SparseEncoder(modules=list(encoder())[:1])
        assert framework_for(model).name == "sentence_transformers"
        with pytest.raises(PackagingError, match="SparseEncoder") as caught:
            FRAMEWORK.save(model, tmp_path)
        assert "truss.init" in str(caught.value)

    def test_an_activation_that_is_not_saved(self, tmp_path):
        class Double(torch.nn.Module):
            def forward(self, scores: Any) -> Any:
                return scores * 2

        with pytest.raises(PackagingError, match="activation function"):
            FRAMEWORK.save(cross_encoder(activation_fn=Double()), tmp_path)


class TestRequests:
    def test_no_texts_have_no_vectors(self):
        assert FRAMEWORK.answer(encoder(), {"inputs": []}) == {"predictions": []}
        assert FRAMEWORK.answer(cross_encoder(), {"inputs": []}) == {"predictions": []}

    def test_an_input_that_is_no_text_is_named(self):
        with pytest.raises(ValueError, match="input 1 is of type int"):
            FRAMEWORK.answer(encoder(), {"inputs": ["a text", 7]})

    def test_a_task_that_there_is_not_is_refused(self):
        with pytest.raises(ValueError, match=r'"query" or "document".*\'poem\''):
            FRAMEWORK.answer(encoder(), {"inputs": TEXTS, "task": "poem"})

    @pytest.mark.parametrize("item", ["a text", ["one"], ["one", "two", "three"], ["one", 2]])
    def test_an_input_that_is_no_pair_is_named(self, item):
        with pytest.raises(ValueError, match=r"pair of texts.*input 0"):
            FRAMEWORK.answer(cross_encoder(), {"inputs": [item]})


def test_it_serves_over_http(tmp_path):
    model = encoder()
    target = tmp_path / "vectors"
    truss.create(model, target, examples=[{"inputs": TEXTS}])
    config = (target / "config.yaml").read_text()
    assert f"sentence-transformers=={sentence_transformers.__version__}" in config
    assert "scikit-learn" not in config
    with running_server(target) as server:
        response = server.predict({"inputs": TEXTS})
        refused = server.predict({"inputs": [1]})
    assert response.status == 200
    np.testing.assert_allclose(response.json()["predictions"], model.encode(TEXTS), atol=1e-6)
    assert refused.status >= 400
    assert "each input is a text" in refused.body.decode()


LOAD_WITHOUT_NETWORK = """
import importlib.util, json, socket, sys

asked = []

def refuse(*arguments, **options):
    asked.append(repr(arguments))
    raise OSError("there is no network")

socket.getaddrinfo = refuse
socket.socket.connect = refuse
spec = importlib.util.spec_from_file_location("model", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
model = module.Model(data_dir=sys.argv[2], config={"model_metadata": json.loads(sys.argv[3])})
model.load()
model.predict({"inputs": json.loads(sys.argv[4])})
print(json.dumps(asked))
"""


@pytest.mark.parametrize(
    ("make", "inputs"),
    [(encoder, TEXTS), (cross_encoder, [["a question", "an answer"]])],
    ids=["texts", "pairs"],
)
def test_nothing_is_fetched_when_a_model_is_loaded(make, inputs, tmp_path):
    saved = FRAMEWORK.save(make(), tmp_path)
    (tmp_path / "model.py").write_text(saved.model_class)
    settings = json.dumps(dict(saved.model_metadata))
    arguments = [str(tmp_path / "model.py"), str(tmp_path), settings, json.dumps(inputs)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD_WITHOUT_NETWORK, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.fixture(autouse=True)
def forget_local_modules():
    yield
    for name in ("shift_module", "padded_module"):
        sys.modules.pop(name, None)
