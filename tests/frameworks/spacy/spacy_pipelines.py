"""Pipelines that are trained on a few sentences, in a moment."""

from functools import cache
from typing import Any

import spacy
from spacy.training import Example
from spacy.util import fix_random_seed

LINES = [
    ("I live in London with my dog.", [(10, 16, "PLACE")], "travel"),
    ("Berlin is a large city.", [(0, 6, "PLACE")], "travel"),
    ("We flew to Paris on Monday.", [(11, 16, "PLACE")], "travel"),
    ("Rome was not built in a day.", [(0, 4, "PLACE")], "travel"),
    ("I like a cup of tea.", [], "food"),
    ("Coffee is nice with milk.", [], "food"),
    ("He ate bread and cheese.", [], "food"),
    ("The soup needs more salt.", [], "food"),
]

TEXTS = ["We flew to Paris on Monday. I like tea.", "Bread, cheese and tea.", "Paris"]


@cache
def trained_bytes(*components: str) -> tuple[dict[str, Any], bytes]:
    fix_random_seed(0)
    nlp = spacy.blank("en")
    for name in components:
        nlp.add_pipe(name)
    examples = [_example(nlp, *line) for line in LINES]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(20):
        nlp.update(examples, sgd=optimizer)
    return nlp.config, nlp.to_bytes()


def trained(*components: str) -> Any:
    """A new copy of an English pipeline whose components have learned the lines above."""
    config, data = trained_bytes(*components)
    return spacy.util.load_model_from_config(config).from_bytes(data)


def _example(nlp: Any, text: str, entities: list[tuple[int, int, str]], category: str) -> Example:
    document = nlp.make_doc(text)
    scores = {name: float(name == category) for name in ("travel", "food")}
    # Whatever follows a small word is a noun: enough for a tagger to learn from.
    tags = [{"a": "DET", "the": "DET", ".": "PUNCT"}.get(token.lower_, "X") for token in document]
    starts = [index == 0 for index in range(len(document))]
    return Example.from_dict(
        document, {"entities": entities, "cats": scores, "tags": tags, "sent_starts": starts}
    )
