"""Code that travels by value names the Python version that it needs."""

import sys

from truss.frameworks.bytecode import by_value_metadata, by_value_note, running_python


def test_the_version_is_the_one_that_runs():
    assert tuple(map(int, running_python().split("."))) == sys.version_info[:2]


def test_metadata_hold_it_only_where_code_travels():
    assert by_value_metadata(True) == {"code_python_version": running_python()}
    assert by_value_metadata(False) == {}


def test_the_note_says_what_and_for_which_version():
    assert by_value_note("the function f").startswith("the function f is saved with the model")
    assert f"Python {running_python()}" in by_value_note()
