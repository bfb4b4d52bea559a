"""What the room offers by name, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import truss.oci


def test_every_name_is_there_and_has_its_home():
    for name in truss.oci.__all__:
        assert getattr(truss.oci, name).__name__ == name
    assert sorted(truss.oci._HOMES) == sorted(truss.oci.__all__) == sorted(dir(truss.oci))


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'Imagine'"):
        _ = truss.oci.Imagine


def test_nothing_but_the_standard_library_is_loaded_before_a_registry_is_used():
    script = (
        "import sys; before = set(sys.modules); import truss.oci;"
        "[getattr(truss.oci, one) for one in dir(truss.oci)];"
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "{'truss'}\n"
