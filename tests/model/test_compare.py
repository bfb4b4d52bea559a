"""Comparing answers: equal within the precision of their type, and told apart readably."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from truss.model.compare import difference, tolerance_of

answers = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(answers)
def test_an_answer_equals_itself(answer):
    assert difference(answer, answer) is None


@given(answers, answers)
def test_judging_is_symmetric(one, other):
    assert (difference(one, other) is None) == (difference(other, one) is None)


@given(st.lists(st.floats(0.1, 1e6), min_size=1), st.data())
def test_a_number_that_is_off_is_found_with_its_path(values, data):
    position = data.draw(st.integers(0, len(values) - 1))
    other = [value * 1.001 if index == position else value for index, value in enumerate(values)]
    assert f"p[{position}]: expected" in difference({"p": values}, {"p": other})


@pytest.mark.parametrize(
    ("dtype", "noise", "equal"),
    [
        ("f8", 1e-12, True),
        ("f8", 1e-6, False),
        ("f4", 1e-6, True),
        ("f4", 1e-2, False),
        ("f2", 1e-3, True),
        ("f2", 1e-1, False),
    ],
)
def test_the_number_type_decides_how_many_digits_count(dtype, noise, equal):
    expected = np.array([1.0, 2.0], dtype=dtype)
    assert (difference({"p": expected}, {"p": [1.0, 2.0 * (1 + noise)]}) is None) == equal


@pytest.mark.parametrize(
    ("expected", "actual", "text"),
    [
        ({"a": 1}, {}, "a: expected 1, and it is missing"),
        ({}, {"a": 1}, "a: not expected, got 1"),
        ([1, 2], [1], "the answer: expected 2 items, got 1"),
        ("x", "y", "the answer: expected 'x', got 'y'"),
        (1, True, "expected 1, got True"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "a[0].b: expected 1, got 2"),
        (list(range(10)), list(range(1, 11)), "... and more"),
    ],
)
def test_differences_read_well(expected, actual, text):
    assert text in difference(expected, actual)


@pytest.mark.parametrize(
    ("answer", "tolerance"),
    [
        ({"p": [0.5]}, 1e-9),
        ({"p": np.zeros(2, "f4"), "q": np.zeros(2)}, 1e-4),
        ([torch.zeros(1, dtype=torch.bfloat16)], 2e-2),
        (np.float16(1), 1e-2),
        (pd.DataFrame({"a": np.zeros(1, "f4")}), 1e-4),
        (np.zeros(2, "i8"), 1e-9),
    ],
)
def test_tolerance_is_that_of_the_least_precise_type(answer, tolerance):
    assert math.isclose(tolerance_of(answer), tolerance)
