"""Edits of a model class that change how it is loaded, and those that do not."""

import pytest

from truss.model.reach import loads_alike

MODULE = """
import json
import os
from base import Base

LIMIT = 3
FILE = os.environ.get("FILE", "weights")


class Net:
    def forward(self):
        return 1


def read(path):
    return decoded(path)


def decoded(path):
    return json.loads(path)


def shape(rows):
    return rows[:LIMIT]


class Model(Base):
    size = 4

    def __init__(self, data_dir):
        self.dir = data_dir

    def load(self):
        self.net = self._made(read(FILE), self.size)

    def _made(self, weights, size):
        return Net()

    def predict(self, request):
        return shape(request["inputs"])
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return shape(request", "return list(request"),
        ("return rows[:LIMIT]", "return rows"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("import json\n", "import json\nimport math\n"),
        ("class Net:", "# a remark\n\n\nclass Net:"),
        (
            "    def predict(self, request):",
            "    def more(self):\n        return 1\n\n    def predict(self, request):",
        ),
    ],
)
def test_what_only_answers_use_may_change(old, new):
    assert old in MODULE
    assert loads_alike(MODULE, MODULE.replace(old, new), "Model")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.dir = data_dir", "self.dir = str(data_dir)"),
        ("self._made(read(FILE)", "self._made(read(LIMIT)"),
        ("return json.loads(path)", "return json.load(path)"),
        ('os.environ.get("FILE", "weights")', '"other"'),
        ("return 1\n\n\ndef read", "return 2\n\n\ndef read"),
        ("size = 4", "size = 5"),
        ("return Net()", "return Net"),
        ("import json", "import simplejson as json"),
        ("class Model(Base)", "class Model(Net)"),
        ("class Model(Base)", "class Model(Base, metaclass=type)"),
        ("from base import Base", "from other import Base"),
        ("class Model(Base)", "class Other(Base)"),
    ],
)
def test_what_loading_uses_may_not(old, new):
    assert old in MODULE
    assert not loads_alike(MODULE, MODULE.replace(old, new), "Model")


def test_what_cannot_be_read_is_never_alike():
    assert not loads_alike(MODULE, "def (", "Model")
