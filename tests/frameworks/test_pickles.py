"""The part of an object that pickling refuses is found and named."""

import sqlite3
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.frameworks.pickles import (
    dumps_by_value,
    find_unpicklable,
    referenced_globals,
    unpicklable_error,
)

GUARD = threading.Lock()


class Client:
    def __init__(self, connection):
        self.settings = {"retries": 3}
        self.connection = connection

    def ask(self, request):
        return self.connection.execute(request)


def place_of(value):
    return find_unpicklable(value, dumps_by_value).place


def closure_over(variable):
    def answer(request):
        return variable, request

    return answer


def test_a_closure_variable_is_named():
    assert place_of(closure_over(threading.Lock())) == "the closure variable 'variable'"


def test_a_global_variable_is_named_when_the_function_goes_by_value():
    scope = {"guard": threading.Lock(), "__name__": "__main__"}
    exec("def answer(request):\n    with guard:\n        return request", scope)
    assert place_of(scope["answer"]) == "the global variable 'guard'"


def test_defaults_are_named():
    def answer(request, guard=GUARD, *, other=None):
        return request

    def keyword(request, *, guard=GUARD):
        return request

    assert place_of(answer) == "the default of argument 0"
    assert place_of(keyword) == "the default of argument 'guard'"


def test_the_way_through_objects_containers_and_partials_is_told():
    connection = sqlite3.connect(":memory:")
    assert place_of({"a": [Client(connection)]}) == "its item 'a', its item 0, its attribute 'connection'"
    assert place_of(partial(closure_over(1), connection)) == "its argument 0"
    assert place_of(Client(connection).ask) == "its object, its attribute 'connection'"
    connection.close()


def test_nothing_is_found_in_what_can_be_pickled():
    assert find_unpicklable(closure_over([1, 2]), dumps_by_value) is None


def test_a_cycle_ends():
    one: list = [threading.Lock()]
    one.insert(0, one)
    assert find_unpicklable(one, dumps_by_value).place == "its item 1"


def test_the_error_names_the_variable_its_type_and_what_to_do(tmp_path):
    with (tmp_path / "log").open("w") as file:
        error = unpicklable_error(closure_over(file), TypeError("no"), "the function 'answer'")
    assert "the function 'answer' cannot be saved" in str(error)
    assert "the closure variable 'variable' (a _io.TextIOWrapper)" in str(error)
    assert "inside the function" in error.hint


def test_globals_of_nested_code_are_seen():
    def answer(request):
        return [GUARD for _ in request]

    assert referenced_globals(answer) == ["GUARD"]


NESTED = st.recursive(
    st.integers() | st.text(),
    lambda inner: st.lists(inner, min_size=1) | st.dictionaries(st.text(), inner, min_size=1),
    max_leaves=20,
)


@given(NESTED, st.data())
def test_the_place_of_a_lock_hidden_anywhere_leads_to_it(value, data):
    guard = threading.Lock()
    container, steps = [value], ["its item 0"]
    holder, key = container, 0
    while isinstance(holder[key], (list, dict)) and data.draw(st.booleans()):
        holder = holder[key]
        key = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        steps.append(f"its item {key!r}")
    holder[key] = guard
    culprit = find_unpicklable(container, dumps_by_value)
    assert culprit.value is guard
    assert culprit.place == ", ".join(steps)


@pytest.mark.parametrize("value", [1, "text", [1, 2], {"a": None}])
def test_plain_values_are_pickled(value):
    assert dumps_by_value(value)
