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


@given(
    st.text("-_.", min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_every_spelling_of_a_name_is_the_same_requirement(separator, capitals):
    first = "".join(c.upper() if big else c for c, big in zip("scikit", capitals, strict=True))
    needs = capture(Saved(model_class="import sklearn\n", requirements=(f"{first}{separator}learn",)))
    assert needs.pins == (f"scikit-learn=={version('scikit-learn')}",)


@given(st.lists(st.sampled_from(["numpy", "scikit-learn", "joblib", "pandas"]), unique=True))
def test_pins_are_sorted_and_unique(names):
    pins = capture(Saved(model_class="", requirements=(*names, *reversed(names)))).pins
    assert list(pins) == sorted({f"{name}=={version(name)}" for name in names})


def test_a_module_of_ones_own_hides_an_installed_one(tmp_path, monkeypatch):
    installed = tmp_path / "installed" / "site-packages"
    install(installed, "thing", "thing_module")
    monkeypatch.syspath_prepend(installed)
    assert capture(Saved(model_class="import thing_module\n")).pins == ("thing==1.0",)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thing_module.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "mine")
    needs = capture(Saved(model_class="import thing_module\n"))
    assert (needs.pins, needs.local) == ((), (tmp_path / "mine" / "thing_module.py",))


def install(folder, name, module, **records):
    """What an installer writes for a distribution with one module."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").touch()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{module}.py,,\n{info.name}/METADATA,,\n")
    (info / "top_level.txt").write_text(f"{module}\n")
    for file, content in records.items():
        (info / f"{file}.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("origin", "pins", "copied"),
    [
        (
            {
                "url": "https://git.example/me/mine.git",
                "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
                "subdirectory": "python",
            },
            ("mine @ git+https://git.example/me/mine.git@c0ffee#subdirectory=python",),
            False,
        ),
        ({"url": "file:///home/me/mine", "dir_info": {}}, (), True),
        ({"url": "file:///home/me/mine", "dir_info": {"editable": True}}, (), True),
        ({"url": "file:///home/me/mine-1.0.whl", "archive_info": {}}, ("mine==1.0",), False),
    ],
)
def test_what_came_from_no_index_is_pinned_to_its_commit_or_copied(
    tmp_path, monkeypatch, origin, pins, copied
):
    install(tmp_path / "site-packages", "mine", "mine_module", direct_url=origin)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    needs = capture(Saved(model_class="import mine_module\n"))
    assert needs.pins == pins
    assert needs.local == ((tmp_path / "site-packages" / "mine_module.py",) if copied else ())


def test_a_working_copy_with_build_metadata_beside_it_is_ones_own(tmp_path, monkeypatch):
    (tmp_path / "project" / "flat.egg-info").mkdir(parents=True)
    (tmp_path / "project" / "flat_module.py").touch()
    info = tmp_path / "project" / "flat.egg-info"
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: flat\nVersion: 0.1\n")
    (info / "top_level.txt").write_text("flat_module\n")
    (info / "SOURCES.txt").write_text("flat_module.py\n")
    monkeypatch.syspath_prepend(tmp_path / "project")
    needs = capture(Saved(model_class="import flat_module\n"))
    assert (needs.pins, needs.local) == ((), (tmp_path / "project" / "flat_module.py",))


def test_a_distribution_installed_meanwhile_is_seen(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    assert distributions_of("later_module") == []
    install(folder, "later", "later_module")
    assert distributions_of("later_module") == ["later"]


def saved(**needs):
    return Saved(model_class="import numpy\n", **needs)


def stated(*names):
    return tuple(f"{name}=={version(name)}" for name in names)


class TestLinesThatAreStatedInCaseTheyAreNeeded:
    lines = stated("joblib", "pandas", "scikit-learn", "scipy")

    def test_those_of_modules_and_what_they_depend_on_stay(self):
        needs = capture(saved(modules=("sklearn.linear_model",), stated_if_needed=self.lines))
        assert needs.pins == tuple(sorted(stated("joblib", "numpy", "scikit-learn", "scipy")))
        assert needs.left_out == stated("pandas")

    def test_those_that_a_pickle_names_stay(self, tmp_path):
        (tmp_path / "model.pickle").write_bytes(pickle.dumps(LogisticRegression()))
        needs = capture(saved(pickle_files=(tmp_path / "model.pickle",), stated_if_needed=self.lines))
        assert needs.left_out == stated("pandas")

    def test_all_stay_where_code_is_in_a_pickle(self, tmp_path):
        (tmp_path / "model.pickle").write_bytes(cloudpickle.dumps(lambda request: request))
        needs = capture(saved(pickle_files=(tmp_path / "model.pickle",), stated_if_needed=self.lines))
        assert set(self.lines) <= set(needs.pins)
        assert needs.left_out == ()

    def test_what_only_an_extra_asks_for_is_left_out(self):
        needs = capture(saved(requirements=("scikit-learn",), stated_if_needed=stated("pytest")))
        assert needs.left_out == stated("pytest")
