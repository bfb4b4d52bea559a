"""examples.yaml: read, written, and what a wrong one is told."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from truss.config import TrussConfig
from truss.errors import ExamplesError
from truss.model.examples import MISSING, Example, read_examples, write_examples

CONFIG = TrussConfig()
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
examples = st.lists(
    st.builds(
        Example,
        st.text("abc é:#'\"", min_size=1),
        values,
        st.just(MISSING) | values,
        st.none() | st.just(1e-4),
    ),
    unique_by=lambda example: example.name,
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(examples)
def test_examples_are_read_back(tmp_path, written):
    write_examples(tmp_path, CONFIG, written)
    assert read_examples(tmp_path, CONFIG) == written


@pytest.mark.parametrize("text", ["", "# none yet\n", "[]\n", "null\n"])
def test_an_empty_file_has_none(tmp_path, text):
    (tmp_path / "examples.yaml").write_text(text)
    assert read_examples(tmp_path, CONFIG) == []


def test_a_missing_file_has_none(tmp_path):
    assert read_examples(tmp_path, CONFIG) == []


def test_a_null_answer_is_an_answer(tmp_path):
    (tmp_path / "examples.yaml").write_text("- {name: a, input: 1, expected: null}\n- {name: b, input: 1}\n")
    one, two = read_examples(tmp_path, CONFIG)
    assert (one.expected, two.expected) == (None, MISSING)


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("a: 1\n", "examples.yaml:1", "not a list"),
        ("- {name: a, input: 1}\n- {input: 2}\n", "examples.yaml:2", "without `name`"),
        ("- just text\n", "examples.yaml:1", "without `name` and `input`"),
        ("- {name: a, input: 1}\n- {name: a, input: 2}\n", "examples.yaml:2", "taken by the example at"),
        ("- [unclosed\n", "examples.yaml:1", "not YAML"),
    ],
)
def test_a_wrong_file_is_told_where(tmp_path, text, where, message):
    (tmp_path / "examples.yaml").write_text(text)
    with pytest.raises(ExamplesError) as caught:
        read_examples(tmp_path, CONFIG)
    assert message in caught.value.message
    assert caught.value.where.endswith(where)
    assert caught.value.hint


def test_numbers_keep_the_precision_they_were_recorded_with():
    example = Example("a", 1, {"p": [0.1]}, tolerance=1e-4)
    assert example.difference({"p": [0.100001]}) is None
    assert "p[0]" in example.difference({"p": [0.2]})
    assert Example("a", 1).difference("anything") is None
