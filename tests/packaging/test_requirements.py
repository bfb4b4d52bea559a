"""Which distributions and modules an object needs, read from its pickle and its source."""

import io
import json
import pickle
import sys
from collections import OrderedDict
from importlib.metadata import version

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from truss.frameworks.base import Saved
from truss.packaging.references import imports_in, modules_in_pickle, modules_of
from truss.packaging.requirements import (
    capture,
    distributions_of,
    source_of,
)


def test_a_pickles_modules_are_read_without_running_it(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    assert "io" in modules_in_pickle(pickle.dumps(Bomb())) or "_io" in modules_in_pickle(pickle.dumps(Bomb()))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("value", "modules"),
    [
        (LogisticRegression(), {"sklearn.linear_model._logistic"}),
        (np.arange(3), {"numpy"}),
        (OrderedDict(a=[1, {2}, frozenset([3])]), {"collections"}),
        (np.dtype("f4"), {"numpy"}),
    ],
)
def test_modules_in_pickles_of_every_protocol(value, modules, protocol):
    found = modules_in_pickle(pickle.dumps(value, protocol))
    assert {name.partition(".")[0] for name in modules} <= {name.partition(".")[0] for name in found}


def test_modules_that_code_by_value_refers_to_are_found():
    def function(request):
        return np.asarray(json.loads(request))

    assert {"numpy", "json"} <= modules_in_pickle(cloudpickle.dumps(function))


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.binary(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_plain_data_names_no_module(value):
    assert modules_in_pickle(pickle.dumps(value)) == set()


def test_large_arrays_are_not_walked():
    big = {"weights": np.zeros(10_000_000), "model": LogisticRegression()}
    assert "sklearn.linear_model._logistic" in modules_of(big)


def test_imports_are_found_at_any_depth_or_at_the_top_only():
    source = "import a.b\nfrom c import d\nfrom . import e\n"
    source += "def f():\n    import g\ntry:\n    import h\nexcept ImportError: ...\n"
    assert imports_in(source) == {"a.b", "c", "g", "h"}
    assert imports_in(source, at_import_only=True) == {"a.b", "c", "h"}


def test_distributions_are_found_by_module():
    assert distributions_of("sklearn.linear_model") == ["scikit-learn"]
    assert distributions_of("numpy") == ["numpy"]
    assert distributions_of("a_module_of_nobody") == []
    assert distributions_of("truss") == []  # installed in place: the user's own


def test_pins_are_exact_and_without_local_versions():
    needs = capture(
        Saved(model_class="import sklearn\nimport torch\n", requirements=("Scikit_Learn", "numpy"))
    )
    torch_version = version("torch").partition("+")[0]
    assert needs.pins == (
        f"numpy=={version('numpy')}", f"scikit-learn=={version('scikit-learn')}", f"torch=={torch_version}"
    )  # fmt: skip
    assert needs.local == ()


def test_the_standard_library_and_truss_itself_need_nothing():
    source = "import json, os.path, truss\nfrom truss import config\nfrom concurrent.futures import Future\n"
    assert capture(Saved(model_class=source)).pins == ()


def test_source_of_finds_files_and_folders(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "one_file_of_mine.py").touch()
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").touch()
    assert source_of("one_file_of_mine") == tmp_path / "one_file_of_mine.py"
    assert source_of("package_of_mine") == tmp_path / "package_of_mine"
    assert source_of("nowhere_at_all") is None


def test_a_class_pickled_by_reference_names_its_module():
    stream = io.BytesIO()
    pickle.dump(LogisticRegression, stream)
    assert set(modules_of(LogisticRegression)) == {"sklearn.linear_model._logistic"}
    assert list(modules_of(sys)) == ["sys"]
