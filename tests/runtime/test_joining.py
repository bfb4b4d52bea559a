"""Joining rows: every row comes back to the request that sent it, or nothing is joined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.runtime.joining import join, row_count, split

rows = st.lists(st.integers(), max_size=5)
rest = st.sampled_from([{}, {"top": 1}, {"top": 2}, {"top": 1, "mode": "x"}])
requests = st.builds(
    lambda name, part, other: {name: part, **other}, st.sampled_from(["inputs", "instances"]), rows, rest
)
others = st.one_of(
    st.none(), st.integers(), st.just({"prompt": "x"}), st.just({"inputs": [1], "instances": [1]})
)


def run_and_split(batch, max_rows, model):
    answers = [None] * len(batch)
    for group in join(batch, max_rows):
        answer = model(group.request)
        if not group.counts:
            (member,) = group.members
            answers[member] = answer
            continue
        for member, part in zip(group.members, split(answer, group.counts), strict=True):
            answers[member] = part
    return answers


def echo_rows(request):
    """A model that answers each row with itself and all the other keys."""
    if not isinstance(request, dict) or ("inputs" in request) == ("instances" in request):
        return request
    name = "inputs" if "inputs" in request else "instances"
    other = {key: value for key, value in request.items() if key != name}
    return {"predictions": [(row, name, other) for row in request[name]]}


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        ({"inputs": [[1, 2], [3, 4], [5, 6]]}, 3),
        ({"instances": np.zeros((4, 2)), "top": 1}, 4),
        ({"inputs": []}, 1),
        ({"inputs": np.array(3)}, 1),
        ({"inputs": "three words here"}, 1),
        ({"prompt": ["a", "b"]}, 1),
        ([1, 2], 1),
    ],
)
def test_rows_are_counted_of_what_could_be_joined(request_, count):
    assert row_count(request_) == count


@given(st.lists(st.one_of(requests, others), max_size=12), st.integers(1, 20))
def test_joined_answers_equal_separate_ones(batch, max_rows):
    assert run_and_split(batch, max_rows, echo_rows) == [echo_rows(request) for request in batch]


@given(st.lists(st.one_of(requests, others), max_size=12), st.integers(1, 20))
def test_each_request_is_in_exactly_one_group(batch, max_rows):
    groups = join(batch, max_rows)
    assert sorted(member for group in groups for member in group.members) == list(range(len(batch)))
    assert all(sum(group.counts) <= max_rows for group in groups)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_arrays_are_joined_and_split_as_arrays(counts):
    parts = [np.full((count, 3), index, dtype="f4") for index, count in enumerate(counts)]
    (group,) = join([{"inputs": part} for part in parts], 100)
    answers = split({"predictions": group.request["inputs"]}, group.counts)
    for part, answer in zip(parts, answers, strict=True):
        assert answer["predictions"].dtype == np.float32
        np.testing.assert_array_equal(answer["predictions"], part)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"inputs": np.zeros((1, 3))}, {"inputs": np.zeros((1, 4))}),
        ({"inputs": np.zeros((1, 3), "f4")}, {"inputs": np.zeros((1, 3), "f8")}),
        ({"inputs": np.zeros((1, 3))}, {"inputs": [[0, 0, 0]]}),
        ({"inputs": [1]}, {"instances": [1]}),
        ({"inputs": [1], "k": np.zeros(2)}, {"inputs": [1], "k": np.zeros(2)}),
        ({"inputs": []}, {"inputs": [1]}),
    ],
)
def test_what_would_change_by_joining_is_left_alone(one, other):
    assert [group.counts for group in join([one, other], 100)] == [(), ()]


@pytest.mark.parametrize(
    "answer",
    [
        {"predictions": [1, 2]},  # too few
        {"predictions": [1, 2, 3], "model": "v1"},
        {"predictions": "abc"},
        {"predictions": [1, 2, 3], "scores": {"a": 1, "b": 2, "c": 3}},
        {},
        "abc",
        7,
        None,
        {"predictions": np.array(3)},
    ],
)
def test_an_answer_without_one_entry_per_row_is_not_split(answer):
    assert split(answer, [1, 2]) is None
