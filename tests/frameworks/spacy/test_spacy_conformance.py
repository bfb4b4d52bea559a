"""The shared suite, over trained pipelines, rules, and a tokenizer alone."""

from typing import Any

import spacy
from sklearn.linear_model import LogisticRegression
from spacy_pipelines import TEXTS, trained

from truss.frameworks.spacy.adapter import SpacyFramework
from truss.testing.environments import OwnEnvironment, ServedAlone


class SpacyConformance(ServedAlone):
    framework = SpacyFramework()
    strangers = (LogisticRegression(), spacy.blank("en")("a text"), spacy.blank("en").vocab)
    relative_tolerance = 1e-3

    def make_request(self) -> Any:
        return {"inputs": TEXTS}


class TestEntitiesAndCategories(OwnEnvironment, SpacyConformance):
    def make_model(self) -> Any:
        return trained("ner", "textcat")


class TestTokensAndSentences(SpacyConformance):
    def make_model(self) -> Any:
        return trained("tagger", "senter")


class TestRules(SpacyConformance):
    def make_model(self) -> Any:
        nlp = spacy.blank("de")
        nlp.add_pipe("sentencizer")
        nlp.add_pipe("entity_ruler").add_patterns([{"label": "PLACE", "pattern": "London", "id": "lon"}])
        return nlp


class TestTokenizer(SpacyConformance):
    def make_model(self) -> Any:
        return spacy.blank("en")
