import re

import click
import pytest

from truss.cli.group import COMMANDS
from truss.cli.group import truss as root
from truss.version import __version__


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name):
    command = root.get_command(click.Context(root), name)
    assert command.name == name
    assert command.get_short_help_str(limit=200) == COMMANDS[name]


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help_lists_every_command(truss, words):
    ran = truss(*words)
    assert (ran.code, ran.err) == (0, "")
    assert re.findall(r"^  ([a-z-]+)  ", ran.out, re.MULTILINE) == list(COMMANDS)
    assert "Exit codes" in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(truss, name):
    ran = truss(name, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: truss {name}")


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_version_option(truss, option):
    assert truss(option).out == f"truss {__version__}\n"


def test_an_unknown_command_names_the_nearest(truss):
    ran = truss("srve")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: no such command 'srve'; did you mean 'serve'?\nhint: truss --help\n"


def test_an_unknown_option_names_the_commands_help(truss):
    ran = truss("serve", "--prt", "80")
    assert (ran.code, ran.out) == (2, "")
    assert "--prt" in ran.err
    assert ran.err.endswith("hint: truss serve --help\n")


def test_names_complete_from_the_table():
    items = root.shell_complete(click.Context(root), "r")
    assert [item.value for item in items] == ["run-example", "run-image", "rollback", "readme"]


def test_options_complete_too():
    items = root.shell_complete(click.Context(root), "--v")
    assert [item.value for item in items] == ["--version"]
