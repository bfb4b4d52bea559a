"""The promise: package a T5 in two lines, ask it, carry the folder away, and get the same answer offline.

Run with both major versions of transformers: version 5 has no pipelines for texts from texts, so there the
model is packaged with its tokenizer.
"""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import tiny_t5
from tiny_t5 import MAKE_T5, PIPELINE, Environment, running_hub

# One group with the other user of the second environment, so that it is made once.
pytestmark = pytest.mark.xdist_group("transformers4")

PIPELINE_WITH_TASK = PIPELINE.replace("pipeline(tok", 'pipeline("text2text-generation", tok')

PAIR = """
from transformers import AutoTokenizer, T5ForConditionalGeneration
import truss
model = T5ForConditionalGeneration.from_pretrained("t5-small")
tokenizer = AutoTokenizer.from_pretrained("t5-small")
scaf = truss.mk_truss((model, tokenizer), target_directory="my_model")

print(scaf.server_predict({"inputs": ["translate: hello world in german"]}))
"""

PAIR_WITH_TASK = PAIR.replace("(model, tokenizer)", '(model, tokenizer, "translation")')

ELSEWHERE = """
import truss
scaf = truss.load("carried/away")

print(scaf.server_predict({"inputs": ["translate: hello world in german"]}))
"""


@pytest.fixture(scope="session")
def python_with_transformers_4() -> Path:
    return tiny_t5.python_with_transformers_4()


@pytest.fixture
def make(tmp_path: Path) -> Callable[[Path], Environment]:
    def make(python: Path) -> Environment:
        environment = Environment(python, tmp_path)
        environment.run(MAKE_T5, HF_HUB_OFFLINE="1")
        return environment

    return make


@pytest.fixture
def hub() -> Iterator[str]:
    with running_hub() as address:
        yield address


def answered_text(printed: str, key: str) -> str:
    assert printed.startswith("{'predictions': [{'" + key + "': ")
    return printed


@pytest.mark.network
def test_the_snippet_works_verbatim_on_transformers_4(
    python_with_transformers_4: Path, make: Callable[[Path], Environment], hub: str
) -> None:
    # The weights come from the folder; only what the model is for is looked up, as the snippet names no task.
    environment = make(python_with_transformers_4)
    here = environment.run(PIPELINE, HF_ENDPOINT=hub)
    environment.carry_away()
    assert environment.run(ELSEWHERE, HF_HUB_OFFLINE="1") == answered_text(here, "translation_text")


@pytest.mark.network
@pytest.mark.parametrize(
    ("snippet", "key"),
    [
        pytest.param(PIPELINE_WITH_TASK, "generated_text", id="pipeline"),
        pytest.param(PAIR, "generated_text", id="pair", marks=pytest.mark.thorough),
        pytest.param(PAIR_WITH_TASK, "translation_text", id="pair-with-task"),
    ],
)
def test_a_local_t5_works_on_transformers_4_without_a_hub(
    snippet: str, key: str, python_with_transformers_4: Path, make: Callable[[Path], Environment]
) -> None:
    environment = make(python_with_transformers_4)
    here = environment.run(snippet, HF_HUB_OFFLINE="1")
    environment.carry_away()
    assert environment.run(ELSEWHERE, HF_HUB_OFFLINE="1") == answered_text(here, key)


@pytest.mark.skipif(
    not version("transformers").startswith("5."), reason="another version of transformers is here"
)
@pytest.mark.parametrize(
    ("snippet", "key"),
    [
        pytest.param(PAIR, "generated_text", id="pair", marks=pytest.mark.thorough),
        pytest.param(PAIR_WITH_TASK, "translation_text", id="pair-with-task"),
    ],
)
def test_a_model_with_its_tokenizer_works_on_transformers_5(
    snippet: str, key: str, make: Callable[[Path], Environment]
) -> None:
    environment = make(Path(sys.executable))
    here = environment.run(snippet, HF_HUB_OFFLINE="1")
    environment.carry_away()
    assert environment.run(ELSEWHERE, HF_HUB_OFFLINE="1") == answered_text(here, key)
