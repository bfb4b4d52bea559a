"""What the spaCy adapter answers beside spaCy itself, what it refuses and says."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy_pipelines import TEXTS, trained

import truss
from truss.errors import PackagingError
from truss.frameworks.registry import framework_for
from truss.frameworks.spacy import model_class
from truss.frameworks.spacy.adapter import SpacyFramework
from truss.testing.server import running_server

FRAMEWORK = SpacyFramework()

COMPONENTS = """
from spacy.language import Language
from spacy.tokens import Doc, Span

Doc.set_extension("shouts", default=0, force=True)


@Language.component("shout_counter", assigns=["doc._.shouts"])
def shout_counter(doc):
    doc._.shouts = doc.text.count("!")
    return doc


@Language.factory("first_word", default_config={"label": "FIRST"})
def make(nlp, name, label):
    return FirstWord(label)


class FirstWord:
    def __init__(self, label):
        self.label = label

    def __call__(self, doc):
        doc.ents = [Span(doc, 0, 1, label=self.label)] if len(doc) else []
        return doc
"""


def packaged(nlp: Any, folder: Path) -> Any:
    saved = FRAMEWORK.save(nlp, folder)
    copy = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata})
    copy.load()
    return copy


@pytest.fixture(scope="module")
def components(tmp_path_factory):
    """A folder with a module of components; imported once, since spaCy takes no second one of a name."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "components_of_mine.py").write_text(COMPONENTS)
    sys.path.insert(0, str(folder))
    importlib.import_module("components_of_mine")
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("components_of_mine")


def test_a_pipeline_finds_this_framework():
    assert framework_for(spacy.blank("fr")).name == "spacy"


class TestAnswers:
    def test_entities_and_categories_are_those_of_spacy(self, tmp_path):
        nlp = trained("ner", "textcat")
        answer = packaged(nlp, tmp_path).predict({"inputs": TEXTS})["predictions"]
        document = nlp(TEXTS[0])
        found = [(entity["text"], entity["label"]) for entity in answer[0]["entities"]]
        assert found == [(entity.text, entity.label_) for entity in document.ents]
        assert ("Paris", "PLACE") in found
        assert answer[0]["categories"] == pytest.approx(document.cats)
        assert answer[1]["categories"]["food"] > 0.5 > answer[2]["categories"]["food"]
        for text, entry in zip(TEXTS, answer, strict=True):
            assert set(entry) == {"entities", "categories"}
            assert all(text[item["start"] : item["end"]] == item["text"] for item in entry["entities"])

    def test_tokens_have_what_components_assign(self, tmp_path):
        nlp = trained("tagger", "senter")
        nlp.add_pipe("attribute_ruler").add(
            [[{"LOWER": "the"}]], {"POS": "DET", "LEMMA": "the", "MORPH": "Definite=Def"}
        )
        entry = packaged(nlp, tmp_path).predict({"inputs": ["The city"]})["predictions"][0]
        assert entry["tokens"][0] == {
            "text": "The",
            "start": 0,
            "end": 3,
            "tag": nlp("The city")[0].tag_,
            "pos": "DET",
            "morph": "Definite=Def",
            "lemma": "the",
        }
        assert entry["sentences"] == [{"text": "The city", "start": 0, "end": 8}]

    def test_rules_name_what_they_find(self, tmp_path):
        nlp = spacy.blank("en")
        nlp.add_pipe("entity_ruler").add_patterns([{"label": "TEA", "pattern": "Earl Grey", "id": "earl"}])
        nlp.add_pipe("span_ruler").add_patterns([{"label": "NAME", "pattern": "Grey"}])
        entry = packaged(nlp, tmp_path).predict({"inputs": ["An Earl Grey!"]})["predictions"][0]
        assert entry == {
            "entities": [{"text": "Earl Grey", "start": 3, "end": 12, "label": "TEA", "id": "earl"}],
            "spans": {"ruler": [{"text": "Grey", "start": 8, "end": 12, "label": "NAME"}]},
        }

    def test_a_tokenizer_alone_answers_tokens(self, tmp_path):
        answer = packaged(spacy.blank("en"), tmp_path).predict({"inputs": ["Don't!", ""]})["predictions"]
        assert [token["text"] for token in answer[0]["tokens"]] == ["Do", "n't", "!"]
        assert answer[1] == {"tokens": []}

    def test_vectors_alone_are_answered(self, tmp_path):
        nlp = spacy.blank("en")
        nlp.vocab.reset_vectors(width=2)
        nlp.vocab.set_vector("tea", [1.0, 3.0])
        nlp.vocab.set_vector("cup", [3.0, 1.0])
        answer = packaged(nlp, tmp_path).predict({"inputs": ["tea cup"]})["predictions"]
        assert answer == [{"vector": [2.0, 2.0]}]

    def test_what_is_answered_can_be_chosen(self, tmp_path):
        saved = FRAMEWORK.save(trained("ner", "textcat"), tmp_path)
        settings = {**saved.model_metadata, "answer": ["categories", "poem"]}
        copy = model_class.Model(data_dir=tmp_path, config={"model_metadata": settings})
        copy.load()
        with pytest.raises(ValueError, match="lists 'poem'"):
            copy.predict({"inputs": ["tea"]})
        settings["answer"].remove("poem")
        assert set(copy.predict({"inputs": ["tea"]})["predictions"][0]) == {"categories"}

    def test_a_component_that_is_switched_off_stays_so(self, tmp_path):
        nlp = trained("ner", "textcat")
        nlp.disable_pipe("ner")
        copy = packaged(nlp, tmp_path)
        assert copy.pipeline.pipe_names == ["textcat"]
        assert set(copy.predict({"inputs": ["tea"]})["predictions"][0]) == {"categories"}


class TestRequests:
    def test_no_texts_have_no_answers(self):
        assert FRAMEWORK.answer(spacy.blank("en"), {"inputs": []}) == {"predictions": []}

    def test_an_input_that_is_no_text_is_named(self):
        with pytest.raises(ValueError, match="input 1 is of type float"):
            FRAMEWORK.answer(spacy.blank("en"), {"inputs": ["a text", 7.0]})

    def test_words_are_forgotten_after_a_request(self, tmp_path):
        copy = packaged(trained("ner", "textcat"), tmp_path)
        before = len(copy.pipeline.vocab.strings)
        for number in range(20):
            copy.predict({"inputs": [f"qwx{number} zzy{number}"]})
        assert len(copy.pipeline.vocab.strings) == before


class TestCode:
    def test_components_of_a_file_go_along(self, components, tmp_path):
        nlp = spacy.blank("en")
        nlp.add_pipe("shout_counter")
        nlp.add_pipe("first_word", config={"label": "START"})
        target = tmp_path / "mine"
        truss.create(nlp, target, examples=[{"inputs": ["Oh no!!"]}])
        assert (target / "packages" / "components_of_mine.py").is_file()
        with running_server(target) as server:
            answer = server.predict({"inputs": ["Oh no!!", "Yes"]}).json()
        assert [entry["extensions"] for entry in answer["predictions"]] == [{"shouts": 2}, {"shouts": 0}]

    def test_a_component_that_declares_nothing_is_mentioned(self, components, tmp_path):
        nlp = spacy.blank("en")
        nlp.add_pipe("first_word")
        (note,) = FRAMEWORK.save(nlp, tmp_path).notes
        assert "first_word does not declare" in note
        assert "model_metadata.answer" in note

    def test_functions_that_the_config_names_go_along(self, components, tmp_path):
        source = (
            "import spacy\n\n\n@spacy.registry.tokenizers('letters')\ndef create():\n"
            "    def make(nlp):\n        return spacy.tokenizer.Tokenizer(nlp.vocab)\n    return make\n"
        )
        (components / "letters_of_mine.py").write_text(source)
        importlib.import_module("letters_of_mine")
        nlp = spacy.blank("en", config={"nlp": {"tokenizer": {"@tokenizers": "letters"}}})
        assert FRAMEWORK.save(nlp, tmp_path).model_metadata["modules"] == {"letters_of_mine": []}

    def test_components_that_only_this_process_knows_are_refused(self, tmp_path):
        def of_a_notebook(doc: Any) -> Any:
            return doc

        of_a_notebook.__module__ = "__main__"
        Language.component("of_a_notebook", func=of_a_notebook)
        nlp = spacy.blank("en")
        nlp.add_pipe("of_a_notebook")
        with pytest.raises(PackagingError, match=r"of_a_notebook.*this Python process only") as caught:
            FRAMEWORK.save(nlp, tmp_path)
        assert ".py file" in str(caught.value)
        assert list(tmp_path.iterdir()) == []


class TestRows:
    def test_a_component_that_remembers_texts_is_given_those_of_one_request(self, tmp_path):
        seen: list[str] = []

        def counter(doc: Any) -> Any:
            seen.append(doc.text)
            doc.cats = {"seen": float(len(seen))}
            return doc

        counter.__module__ = "spacy_pipelines"
        Language.component("counter", func=counter, assigns=["doc.cats"])
        nlp = spacy.blank("en")
        nlp.add_pipe("counter")
        saved = FRAMEWORK.save(nlp, tmp_path)
        assert saved.batching == "none"
        assert "otherwise together" in saved.notes[0]

    def test_a_component_that_cannot_be_tried_is_given_those_of_one_request(self, tmp_path):
        def digits_only(doc: Any) -> Any:
            doc.cats = {"number": float(doc.text)}
            return doc

        digits_only.__module__ = "spacy_pipelines"
        Language.component("digits_only", func=digits_only, assigns=["doc.cats"])
        nlp = spacy.blank("en")
        nlp.add_pipe("digits_only")
        saved = FRAMEWORK.save(nlp, tmp_path)
        assert saved.batching == "none"
        assert "could not be tried" in saved.notes[0]

    def test_a_pipeline_that_is_not_trained_is_refused(self, tmp_path):
        nlp = spacy.blank("en")
        nlp.add_pipe("ner")
        with pytest.raises(PackagingError, match="'ner' of this pipeline is not trained"):
            FRAMEWORK.save(nlp, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_pipeline_that_spacy_cannot_run_is_refused(self, tmp_path):
        nlp = spacy.blank("en")
        nlp.add_pipe("lemmatizer")  # without its tables
        with pytest.raises(PackagingError, match=r"cannot read texts.*lemmatizer"):
            FRAMEWORK.save(nlp, tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_it_serves_over_http(tmp_path):
    nlp = trained("ner", "textcat")
    target = tmp_path / "reader"
    truss.create(nlp, target, examples=[{"inputs": TEXTS}])
    config = (target / "config.yaml").read_text()
    assert f"spacy=={spacy.__version__}" in config
    assert "torch" not in config
    assert "mode: rows" in config
    with running_server(target) as server:
        response = server.predict({"inputs": TEXTS})
    assert response.status == 200
    for entry, document in zip(response.json()["predictions"], nlp.pipe(TEXTS), strict=True):
        assert [item["text"] for item in entry["entities"]] == [item.text for item in document.ents]
        assert entry["categories"] == pytest.approx(document.cats, abs=1e-5)
