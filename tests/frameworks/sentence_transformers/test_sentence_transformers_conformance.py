"""The shared suite, over an encoder with real weights and over scorers of pairs."""

from typing import Any

import torch
from sentence_models import TEXTS, cross_encoder, encoder
from sklearn.linear_model import LogisticRegression

from truss.frameworks.sentence_transformers.adapter import SentenceTransformersFramework
from truss.testing.environments import OwnEnvironment, ServedAlone


class SentenceTransformersConformance(ServedAlone):
    framework = SentenceTransformersFramework()
    strangers = (torch.nn.Linear(1, 1), LogisticRegression())
    relative_tolerance = 1e-3  # single precision, values around zero

    def make_request(self) -> Any:
        return {"inputs": TEXTS}


class TestEncoder(OwnEnvironment, SentenceTransformersConformance):
    def make_model(self) -> Any:
        return encoder()


class TestEncoderWithATask(SentenceTransformersConformance):
    def make_model(self) -> Any:
        return encoder(prompts={"query": "Which text answers this: "}, truncate_dim=64)

    def make_request(self) -> Any:
        return {"inputs": TEXTS, "task": "query"}


class TestScorer(SentenceTransformersConformance):
    def make_model(self) -> Any:
        return cross_encoder()

    def make_request(self) -> Any:
        return {"inputs": [["a question", text] for text in TEXTS]}


class TestScorerWithLabels(TestScorer):
    def make_model(self) -> Any:
        return cross_encoder(labels=3)
