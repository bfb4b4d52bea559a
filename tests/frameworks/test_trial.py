"""A trial tells models that answer rows by themselves from those that do not."""

import numpy as np
import pytest

from truss.frameworks.trial import Finding, RowInput, random_rows, try_rows

TABLE = [RowInput("x", "float32", (2,))]
NOISE = np.random.default_rng(1)


def refuse(rows):
    raise ValueError("not these")


def only_of_length_32(rows):
    if rows["x"].shape[1] != 32:
        raise ValueError("not this length")
    return [rows["x"].sum(axis=1)]


@pytest.mark.parametrize(
    ("run", "finding"),
    [
        (lambda rows: [rows["x"] * 2, rows["x"].sum(axis=1)], Finding.INDEPENDENT),
        (lambda rows: [[{"a": row[0], "b": row[1]} for row in rows["x"]]], Finding.INDEPENDENT),
        (lambda rows: [rows["x"] * 2, rows["x"] - rows["x"].mean(axis=0)], Finding.DEPENDENT),
        (lambda rows: [rows["x"].cumsum(axis=0)], Finding.DEPENDENT),
        (lambda rows: [rows["x"][:1]], Finding.DEPENDENT),
        (lambda rows: [rows["x"].T], Finding.DEPENDENT),
        (lambda rows: [rows["x"] + NOISE.standard_normal(2)], Finding.RANDOM),
        (refuse, Finding.UNKNOWN),
    ],
)
def test_what_a_trial_finds(run, finding):
    assert try_rows(run, TABLE) is finding


def test_several_lengths_are_tried_where_any_should_do():
    assert try_rows(only_of_length_32, [RowInput("x", "float32", (None,))]) is Finding.INDEPENDENT


def test_rows_have_the_shape_and_type_of_their_input():
    inputs = [RowInput("a", "int64", (None, 3)), RowInput("b", "object", ()), RowInput("c", "bool", (1,))]
    rows = random_rows(inputs, 5)
    assert {name: (array.shape, array.dtype.name) for name, array in rows.items()} == {
        "a": ((2, 5, 3), "int64"),
        "b": ((2,), "object"),
        "c": ((2, 1), "bool"),
    }
    assert set(rows["a"].ravel()) <= {0, 1}
    assert rows["c"].tolist() in ([[True], [False]], [[False], [True]])


def test_numbers_of_rows_that_each_have_one_differ():
    rows = [RowInput("user", "int64", ())]
    assert try_rows(lambda given: [given["user"] - given["user"].mean()], rows) is Finding.DEPENDENT


def test_a_model_is_run_no_more_often_than_it_takes():
    asked = []
    assert try_rows(lambda rows: asked.append(1) or [rows["x"] * 2], TABLE) is Finding.INDEPENDENT
    assert len(asked) == 3
