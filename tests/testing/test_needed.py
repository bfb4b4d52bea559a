"""What a model cannot do without: a distribution is taken away whole, and nothing else is."""

import sys
from pathlib import Path

import pytest

from truss.testing.needed import Environment

MODEL = """
from importlib.metadata import version
import shared.one


class Model:
    def __init__(self, **kwargs): ...

    def load(self): ...

    def preprocess(self, request): return request

    def predict(self, request):
        if request == "alone":
            return {"predictions": [shared.one.VALUE]}
        from shared import two
        return {"predictions": [shared.one.VALUE, two.VALUE, version("two-parts")]}

    def postprocess(self, answer): return answer
"""


@pytest.fixture
def environment(tmp_path):
    """Two distributions with files in one folder, and a model that needs the second for some requests."""
    packages = tmp_path / "venv" / "lib" / "python3" / "site-packages"
    for distribution, file in (("one", "shared/one.py"), ("Two_Parts", "shared/two.py")):
        install(packages, distribution, file)
    (packages / "shared" / "__pycache__").mkdir()
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    folder = tmp_path / "truss"
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text("requirements: [one==1.0, 'two.parts==1.0']\n")
    (folder / "model" / "model.py").write_text(MODEL)
    return Environment(folder, python)


def install(packages: Path, name: str, file: str) -> None:
    (packages / file).parent.mkdir(parents=True, exist_ok=True)
    (packages / file).write_text(f"VALUE = {name!r}\n")
    metadata = packages / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "RECORD").write_text(f"{file},,\n{metadata.name}/METADATA,,\n{metadata.name}/RECORD,,\n")


def test_requirements_are_named_as_indexes_name_them(environment):
    assert environment.requirements == ("one", "two-parts")


def test_with_all_of_them_it_answers(environment):
    assert environment.attempt("both").answer == {"predictions": ["one", "Two_Parts", "1.0"]}


def test_without_one_it_fails_and_says_why(environment):
    attempt = environment.attempt("both", without="two-parts")
    assert attempt.answer is None
    assert "cannot import name 'two'" in attempt.failure


def test_what_a_request_does_not_use_is_not_missed(environment):
    attempt = environment.attempt("alone", without="two-parts")
    assert attempt.failure is None
    assert attempt.answer == {"predictions": ["one"]}


def test_a_package_that_is_all_gone_leaves_no_empty_one(environment):
    packages = environment.python.parents[1] / "lib" / "python3" / "site-packages"
    (packages / "shared" / "two.py").rename(packages / "other.py")
    assert "No module named 'shared'" in environment.attempt("alone", without="one").failure


def test_a_distribution_that_is_not_there_is_an_error(environment):
    with pytest.raises(LookupError, match="three is not in"):
        environment.attempt("alone", without="three")
