"""When a line about progress is worth it. It goes to stderr."""

import io
import sys
import threading

import pytest

from truss.packaging import progress as module


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and when something was drawn on it."""

    def __init__(self, watched=True):
        super().__init__()
        self.watched = watched
        self.drawn = threading.Event()

    def isatty(self):
        return self.watched

    def write(self, text):
        written = super().write(text)
        if "Loading the model" in self.getvalue():
            self.drawn.set()
        return written


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def test_long_work_is_shown_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "PATIENCE", 0)
    with module.progress("Loading the model"):
        assert terminal.drawn.wait(60)


@pytest.mark.parametrize(("watched", "patience"), [(True, 60), (False, 0)])
def test_short_work_is_not_and_nothing_is_where_nobody_watches(monkeypatch, watched, patience):
    terminal = Terminal(watched)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "PATIENCE", patience)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # as another test may have left it
    with module.progress("Loading the model"):
        pass
    assert terminal.getvalue() == ""


def test_the_streams_of_the_work_stay_what_they_are(monkeypatch):
    """Its libraries write to them, a bar of their own say, while the line is shown."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "PATIENCE", 0)
    before = sys.stdout
    with module.progress("Loading the model"):
        assert terminal.drawn.wait(60)
        assert (sys.stdout, sys.stderr) == (before, terminal)


def test_a_notebook_gets_one_line(monkeypatch):
    cell = Terminal(watched=False)
    monkeypatch.setattr(sys, "stderr", cell)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(module, "PATIENCE", 0)
    with module.progress("Loading the model"):
        assert cell.drawn.wait(60)
    assert cell.getvalue() == "Loading the model ...\n"
