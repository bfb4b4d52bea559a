"""Golden requests: which answers are recorded, and what a wrong one is told."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import truss
from truss.config import read_config
from truss.errors import ExamplesError, GoldenMismatchError, PredictionError
from truss.packaging.golden import as_examples, mismatches, recorded, with_answer

requests = st.dictionaries(st.sampled_from(["inputs", "instances", "prompt"]), st.lists(st.integers()))


@pytest.fixture
def echo(tmp_path):
    """A Truss that answers with its inputs."""
    return truss.init(tmp_path / "echo").truss_dir


def ask(folder, example, live, **options):
    return recorded([example], live, folder, read_config(folder), **options)


def same(request):
    return {"predictions": request["inputs"]}


def drawn(request):
    raise AssertionError("an answer that is drawn at random says nothing about the packaged copy's")


def has_seed(request):
    return "seed" in request


def test_the_live_answer_is_recorded(echo):
    (found,) = ask(echo, truss.Example("a", {"inputs": [1]}), same)
    assert found == truss.Example("a", {"inputs": [1]}, {"predictions": [1]})


def test_an_expected_answer_has_to_be_the_live_one(echo):
    agreed = truss.Example("a", {"inputs": [1]}, {"predictions": [1]})
    assert ask(echo, agreed, same) == [agreed]
    with pytest.raises(GoldenMismatchError, match=r"the live object .*\npredictions\[0\]: expected 2, got 1"):
        ask(echo, truss.Example("a", {"inputs": [1]}, {"predictions": [2]}), same)


def test_an_object_that_cannot_answer_is_told_with_the_example(echo):
    def broken(request):
        return request["inputs"][0] / 0

    with pytest.raises(ExamplesError, match="cannot answer example 'a': ZeroDivisionError: division by zero"):
        ask(echo, truss.Example("a", {"inputs": [1]}), broken)


def test_a_random_model_is_asked_and_its_answer_not_kept(echo):
    example = truss.Example("a", {"inputs": [1]})
    assert ask(echo, example, drawn, repeats=has_seed) == [example]
    seeded = truss.Example("a", {"inputs": [1], "seed": 1})
    assert ask(echo, seeded, same, repeats=has_seed) == [replace(seeded, expected={"predictions": [1]})]
    code = echo / "model" / "model.py"
    code.write_text(code.read_text().replace('request["inputs"]', 'request["absent"]'))
    with pytest.raises(PredictionError, match="absent"):
        ask(echo, example, drawn, repeats=has_seed)


@pytest.mark.parametrize(("dtype", "tolerance"), [("f2", 1e-2), ("f4", 1e-4), ("f8", None), ("i8", None)])
def test_the_file_keeps_the_precision_of_the_answer(dtype, tolerance):
    example = with_answer(truss.Example("a", 1), {"p": np.ones(2, dtype)})
    assert (example.expected, example.tolerance) == ({"p": [1, 1]}, tolerance)


def test_a_tolerance_that_was_given_is_kept():
    assert with_answer(truss.Example("a", 1, tolerance=0.5), np.float32(1)).tolerance == 0.5


@given(st.lists(requests, min_size=1))
def test_requests_become_examples_in_order(given_requests):
    assert [example.input for example in as_examples(given_requests)] == given_requests


@given(st.lists(requests, min_size=1))
def test_as_examples_takes_what_it_gave(given_requests):
    examples = as_examples(given_requests)
    assert as_examples(examples) == as_examples([example.to_dict() for example in examples]) == examples


@given(st.lists(st.lists(st.floats(allow_nan=False))))
def test_rows_become_one_request(rows):
    assert [example.input for example in as_examples(rows)] == [{"inputs": rows}] * bool(rows)


def test_each_frame_of_a_list_is_a_request():
    frames = [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2, 3]})]
    first, second, third = as_examples([*frames, {"inputs": [[4]]}])
    assert first.input["inputs"] is frames[0]
    assert second.input["inputs"] is frames[1]
    assert third.input == {"inputs": [[4]]}


@given(st.lists(st.integers()))
def test_a_model_that_answers_alike_has_no_mismatches(values):
    examples = [
        truss.Example(str(place), {"inputs": [value]}, {"predictions": [value]})
        for place, value in enumerate(values)
    ]
    assert mismatches(examples, same) == {}
    off = mismatches(examples, lambda request: {"predictions": [request["inputs"][0] + 1]})
    assert list(off) == [example.name for example in examples]
