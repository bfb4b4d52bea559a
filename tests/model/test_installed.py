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
    assert unmet([line], gpus=False) == []


def test_requirements_that_are_not_met():
    assert unmet(["msgspec==0.0.1", "nothing-like-this", "nothing-like-this==1"], gpus=False) == [
        f"msgspec==0.0.1: {MSGSPEC} is installed",
        "nothing-like-this: not installed",
        "nothing-like-this==1: not installed",
    ]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put the distribution `mine` into the process's import path, in a version."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(version):
        folder = tmp_path / f"mine-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: mine\nVersion: {version}\n")

    return put


@pytest.mark.parametrize("gpus", [False, True])
def test_a_build_of_a_version_meets_it(install, gpus):
    install("2.1+cpu")
    assert unmet(["mine==2.1", "mine==2.1.0", "mine==2.1+cpu", "mine==2.1.0+CPU"], gpus=gpus) == []
    for line in ("mine==2.2+cpu", "mine==2.1+mycompany.3"):
        assert unmet([line], gpus=gpus) == [f"{line}: 2.1+cpu is installed"]


@pytest.mark.parametrize("stated", ["2.1+cu128", "2.1+rocm6.4", "2.1+cuda12.cudnn89", "2.1+xpu"])
def test_a_build_for_cpus_is_enough_where_no_gpu_is_asked_for(install, stated):
    install("2.1+cpu")
    assert unmet([f"mine=={stated}"], gpus=False) == []
    assert unmet([f"mine=={stated}"], gpus=True) == [f"mine=={stated}: 2.1+cpu is installed"]


@pytest.mark.parametrize("installed", ["2.1", "2.1+cu130"])
@pytest.mark.parametrize("gpus", [False, True])
def test_builds_of_a_version_for_gpus_meet_each_other_and_one_for_cpus(install, installed, gpus):
    install(installed)
    assert unmet(["mine==2.1+cpu", "mine==2.1+cu128"], gpus=gpus) == []


def test_a_build_that_names_no_processor_is_a_version_of_its_own(install):
    install("2.1+mycompany.3")
    assert unmet(["mine==2.1", "mine==2.1+mycompany.3"], gpus=False) == []
    assert unmet(["mine==2.1+cpu"], gpus=False) == ["mine==2.1+cpu: 2.1+mycompany.3 is installed"]
