"""Requirements that what is installed does not meet."""

from importlib.metadata import version

import pytest

from truss.model.installed import unmet

MSGSPEC = version("msgspec")


@pytest.mark.parametrize(
    "line",
    [
        "msgspec",
        f"msgspec=={MSGSPEC}",
        f"MsgSpec == {MSGSPEC}.0",
        f"msgspec[toml]=={MSGSPEC}  # a comment",
        f"msgspec==={MSGSPEC}",
        # Another build of the same library:
        f"onnxruntime-gpu=={version('onnxruntime')}",
        "Tensorflow",
        # Left to installers:
        "nothing-like-this>=3",
        "nothing-like-this; python_version < '3'",
        "./packages/mine",
        "-r more.txt",
        "mine @ https://example.org/mine.whl",
        "",
        "# a comment",
    ],
)
def test_requirements_that_are_met_or_not_judged(line):
    assert unmet([line]) == []


def test_requirements_that_are_not_met():
    assert unmet(["msgspec==0.0.1", "nothing-like-this", "nothing-like-this==1"]) == [
        f"msgspec==0.0.1: {MSGSPEC} is installed",
        "nothing-like-this: not installed",
        "nothing-like-this==1: not installed",
    ]


def test_a_build_of_a_version_meets_it(tmp_path, monkeypatch):
    folder = tmp_path / "mine-2.1+cpu.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: mine\nVersion: 2.1+cpu\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert unmet(["mine==2.1", "mine==2.1.0", "mine==2.1+cpu"]) == []
    assert unmet(["mine==2.1+cu128"]) == ["mine==2.1+cu128: 2.1+cpu is installed"]
