"""Modules of several Trusses in one process: apart from each other and from the process's own."""

import sys
import threading

import pytest

MODEL = """
    from model.words import WORD
    import shared_name

    class Model:
        def predict(self, request):
            from late import LATE
            return [WORD, shared_name.NAME, LATE]
"""


def truss(write, word, name):
    return write(
        {
            "model/__init__.py": "",
            "model/model.py": MODEL,
            "model/words.py": f"WORD = {word!r}\n",
            "packages/shared_name.py": f"NAME = {name!r}\n",
            "packages/late.py": f"LATE = {'late ' + word!r}\n",
        },
        name=word,
    )


def test_same_named_modules_do_not_mix_in_turn_or_in_threads(write, load):
    one, two = load(truss(write, "one", "1")), load(truss(write, "two", "2"))
    answers = {"one": [], "two": []}

    def call(model, into):
        into += [model.predict({}) for _ in range(50)]

    threads = [
        threading.Thread(target=call, args=(one, answers["one"])),
        threading.Thread(target=call, args=(two, answers["two"])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers["one"] == [["one", "1", "late one"]] * 50
    assert answers["two"] == [["two", "2", "late two"]] * 50


def test_the_process_keeps_its_own_modules(write, load, monkeypatch):
    mine = type(sys)("shared_name")
    monkeypatch.setitem(sys.modules, "shared_name", mine)
    load(truss(write, "one", "1")).predict({})
    assert sys.modules["shared_name"] is mine
    assert not [name for name in sys.modules if name in ("model", "model.model", "late")]
    assert not [finder for finder in sys.meta_path if type(finder).__name__ == "_RootsFinder"]


def test_an_edit_within_the_second_is_seen_at_the_next_load(write, load):
    for number in range(5):  # same size, same second: a bytecode cache would hide the edit
        folder = write(
            {"model/__init__.py": "", "model/model.py": MODEL, "model/words.py": f"WORD = {number}\n"}
        )
        write({"packages/shared_name.py": "NAME = 0\n", "packages/late.py": "LATE = 0\n"})
        assert load(folder).predict({})[0] == number


def test_no_bytecode_is_left_in_the_truss(write, load):
    folder = truss(write, "one", "1")
    load(folder).predict({})
    assert not list(folder.rglob("__pycache__"))


def test_pickles_find_the_modules_of_their_truss(write, load):
    code = """
        import pickle
        from things import Thing

        class Model:
            def load(self):
                self._bytes = pickle.dumps(Thing(3))
            def predict(self, request):
                return pickle.loads(self._bytes).value
    """
    things = "class Thing:\n    def __init__(self, value):\n        self.value = value\n"
    folder = write({"model/__init__.py": "", "model/model.py": code, "packages/things.py": things})
    assert load(folder).predict({}) == 3


def test_a_model_may_ask_another_truss(write, load):
    inner = load(truss(write, "inner", "in"))
    outer = load(truss(write, "outer", "out"))
    outer.model.predict = lambda request: [
        inner.predict(request),
        type(outer.model).predict(outer.model, request),
    ]
    outer.steps = type(outer.steps)(outer.model, outer._file)
    assert outer.predict({}) == [["inner", "in", "late inner"], ["outer", "out", "late outer"]]


def test_environment_variables_hold_during_calls_only(write, load, monkeypatch):
    import os

    monkeypatch.setenv("SET_OUTSIDE", "outside")
    monkeypatch.delenv("FROM_CONFIG", raising=False)
    code = """
        import os
        class Model:
            def predict(self, request):
                return [os.environ["FROM_CONFIG"], os.environ["SET_OUTSIDE"]]
    """
    config = "environment_variables: {FROM_CONFIG: config, SET_OUTSIDE: config}\n"
    model = load(write({"model/model.py": code, "config.yaml": config}))
    assert model.predict({}) == ["config", "outside"]
    assert "FROM_CONFIG" not in os.environ


def test_a_module_layout_of_ones_own(write, load):
    code = "class Mine:\n    def predict(self, request):\n        return 'mine'\n"
    config = "model_module_dir: src/serving\nmodel_class_filename: entry.py\nmodel_class_name: Mine\n"
    assert load(write({"src/serving/entry.py": code, "config.yaml": config})).predict({}) == "mine"


def test_external_package_folders_are_importable(write, load, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "beyond.py").write_text("VALUE = 5\n")
    code = "from beyond import VALUE\nclass Model:\n    def predict(self, request):\n        return VALUE\n"
    config = "external_package_dirs: [../outside]\n"
    assert load(write({"model/model.py": code, "config.yaml": config})).predict({}) == 5


@pytest.mark.parametrize("isolated", [True, False])
def test_both_ways_of_loading_give_the_same_answers(write, load, isolated):
    model = load(truss(write, "word", "name"), isolated=isolated)
    try:
        assert model.predict({}) == ["word", "name", "late word"]
    finally:  # a worker installs its modules for good; this process goes on
        sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "_RootsFinder"]
        for name in ("model", "model.model", "model.words", "shared_name", "late"):
            sys.modules.pop(name, None)
