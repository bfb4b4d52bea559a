"""Installed wheels as entries of layers, and which of them share one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.build.wheels import LARGE, SITE, Wheel, entries, grouped, installed, shared_files

RECORD = """\
mine/__init__.py,sha256=x,6
mine/__pycache__/__init__.cpython-311.pyc,,
mine-1.0.dist-info/METADATA,sha256=x,20
mine-1.0.dist-info/INSTALLER,sha256=x,2
mine-1.0.dist-info/direct_url.json,sha256=x,30
mine-1.0.dist-info/RECORD,,
../../bin/mine,sha256=x,40
"""


@pytest.fixture
def folder(tmp_path):
    contents = {
        "mine/__init__.py": "x = 1\n",
        "mine/__pycache__/__init__.cpython-311.pyc": "bytecode",
        "mine-1.0.dist-info/METADATA": "Name: mine\nVersion: 1.0\n",
        "mine-1.0.dist-info/INSTALLER": "uv",
        "mine-1.0.dist-info/direct_url.json": '{"url": "file:///home/me"}',
        "mine-1.0.dist-info/RECORD": RECORD,
        "bin/mine": "#!/home/me/.venv/bin/python3\nimport mine\n",
        "bin/other": "not of any wheel",
    }
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def read(entry):
    return b"".join(entry.content.blocks()).decode()


def test_what_the_installer_wrote_about_its_machine_is_left_out(folder):
    (wheel,) = installed(folder)
    assert wheel.name == "mine-1.0"
    found = {entry.path.removeprefix(f"{SITE}/"): read(entry) for entry in entries(folder, [wheel])}
    assert found == {
        "mine/__init__.py": "x = 1\n",
        "mine-1.0.dist-info/METADATA": "Name: mine\nVersion: 1.0\n",
        "mine-1.0.dist-info/RECORD": (
            "bin/mine,,\nmine/__init__.py,sha256=x,6\n"
            "mine-1.0.dist-info/METADATA,sha256=x,20\nmine-1.0.dist-info/RECORD,,\n"
        ),
        "bin/mine": "#!/usr/bin/env python3\nimport mine\n",
    }


@pytest.mark.parametrize(
    "head",
    ["#!/a/b/python\n", "#!/a/python3.11 -s\n", "#!/bin/sh\n'''exec' '/a b/python' \"$0\" \"$@\"\n' '''\n"],
)
def test_scripts_start_the_images_python(folder, head):
    (folder / "bin" / "mine").write_text(f"{head}import mine\n")
    found = {entry.path: read(entry) for entry in entries(folder, installed(folder))}
    assert found[f"{SITE}/bin/mine"] == "#!/usr/bin/env python3\nimport mine\n"


def test_distributions_that_one_carries_in_its_folders_are_left_as_they_are(folder):
    carried = {
        "mine/_vendor/other-2.0.dist-info/RECORD": "other/__init__.py,sha256=x,1\n",
        "mine/_vendor/other-2.0.dist-info/INSTALLER": "uv",
    }
    for name, text in carried.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    lines = "".join(f"{name},sha256=x,1\n" for name in carried)
    (folder / "mine-1.0.dist-info" / "RECORD").write_text(RECORD + lines)
    found = {entry.path.removeprefix(f"{SITE}/"): read(entry) for entry in entries(folder, installed(folder))}
    assert {name: found[name] for name in carried} == carried


def test_files_that_several_wheels_write_are_found():
    def wheel(name, *files):
        return Wheel(name, files, 1)

    one, two = wheel("one-1", "one/a", "tests/__init__.py"), wheel("two-1", "two/a", "tests/__init__.py")
    assert shared_files([one, two, wheel("three-1", "three/a")]) == {"tests/__init__.py"}
    assert two.distribution == "two"


WHEELS = st.lists(
    st.builds(
        Wheel,
        st.from_regex(r"[a-z]{1,8}-[0-9]\.[0-9]", fullmatch=True),
        st.just(("a",)),
        st.integers(0, 3 * LARGE),
    ),
    unique_by=lambda wheel: wheel.name,
    max_size=90,
)


@given(WHEELS)
def test_every_wheel_is_in_one_group_and_large_ones_are_alone(wheels):
    groups = grouped(wheels)
    assert sorted(wheel.name for group in groups for wheel in group.wheels) == sorted(w.name for w in wheels)
    assert len(groups) <= 56
    assert len({group.name for group in groups}) == len(groups)
    assert grouped(list(reversed(wheels))) == groups
    alone = [wheel for wheel in wheels if wheel.size >= LARGE]
    if len(alone) <= 48:
        assert {group.wheels for group in groups if group.name.startswith("wheel ")} == {(w,) for w in alone}


@given(WHEELS, WHEELS)
def test_where_a_small_wheel_is_does_not_depend_on_others(some, others):
    small = Wheel("mine-1.0", (), 1)
    first = next(group.name for group in grouped([*some, small]) if small in group.wheels)
    newer = Wheel("mine-2.0", (), 1)
    second = next(group.name for group in grouped([*others, newer]) if newer in group.wheels)
    assert first == second
