"""`import truss` is free: no third-party module, and every public name is there when asked for."""

import subprocess
import sys

import pytest

import truss

LIST_MODULES = """
import sys
before = set(sys.modules)
import truss
dir(truss)
print("\\n".join(sorted(name.partition(".")[0] for name in set(sys.modules) - before)))
"""


def test_import_loads_nothing_but_itself_and_the_standard_library():
    shown = subprocess.run([sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert loaded - sys.stdlib_module_names == {"truss"}


@pytest.mark.parametrize("name", truss.__all__)
def test_every_public_name_is_there(name):
    assert getattr(truss, name) is not None
    assert name in dir(truss)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        truss.nothing  # noqa: B018
