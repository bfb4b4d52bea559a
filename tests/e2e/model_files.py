"""The files that libraries save models to, each written in a moment, with the object that it holds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

os.environ.setdefault("KERAS_BACKEND", "torch")  # before anything imports Keras

X, y = load_iris(return_X_y=True)
ROWS = X[::30].tolist()


def write_xgboost(path: Path) -> object:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(X, y)
    model.save_model(path)
    return model


def write_booster(path: Path) -> object:
    import xgboost

    model = xgboost.train(
        {"objective": "multi:softprob", "num_class": 3}, xgboost.DMatrix(X, y), num_boost_round=3
    )
    model.save_model(path)
    return model


def write_lightgbm(path: Path) -> object:
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y)
    model.booster_.save_model(path)
    return model


def write_catboost(path: Path) -> object:
    import catboost

    model = catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False).fit(X, y)
    model.save_model(str(path), format="cbm")
    return model


def keras_model(*layers: object) -> object:
    import keras

    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3)])


def write_keras(path: Path) -> object:
    model = keras_model()
    model.save(path)
    return model


def write_onnx(path: Path) -> object:
    from onnx import TensorProto, checker, helper, numpy_helper, save_model

    weights = numpy_helper.from_array(np.ones((4, 2), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save_model(model, path)
    return model


def write_script(path: Path) -> object:
    import torch

    model = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()))
    model.save(str(path))
    return model


def write_program(path: Path) -> object:
    import torch

    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(torch.nn.Linear(4, 3), (torch.ones(2, 4),), dynamic_shapes=({0: rows},))
    with path.open("wb") as file:
        torch.export.save(program, file)
    return program


SAFE = {
    "model.ubj": (write_xgboost, "xgboost"),
    "model.json": (write_booster, "xgboost"),
    "model.txt": (write_lightgbm, "lightgbm"),
    "model.cbm": (write_catboost, "catboost"),
    "model.keras": (write_keras, "keras"),
    "model.onnx": (write_onnx, "onnx"),
    "model.pt": (write_script, "torch"),
    "model.pt2": (write_program, "torch"),
}
"""The files that hold no code: their names, who writes them, and the framework."""


def pickled(path: Path, compress: int = 0) -> Path:
    import joblib

    joblib.dump(LogisticRegression(max_iter=500).fit(X, y), path, compress=compress)
    return path


def write_pickle(path: Path) -> object:
    import joblib

    pickled(path)
    return joblib.load(path)


def write_transformers(path: Path) -> object:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "a", "kind", "film"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **shape)).eval()
    for part in (model, tokenizer):
        part.save_pretrained(path)
    return model, tokenizer


def write_mlflow(path: Path) -> object:
    import mlflow
    from mlflow.models import infer_signature

    model = LogisticRegression(max_iter=500).fit(X, y)
    signature = infer_signature(X, model.predict(X))
    mlflow.sklearn.save_model(model, path, signature=signature, pip_requirements=["scikit-learn"])
    return mlflow.pyfunc.load_model(str(path))
