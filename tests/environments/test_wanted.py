"""What an environment has to hold, and what makes it another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from truss.config import parse_config
from truss.environments.accelerated import for_cpus, for_gpus
from truss.environments.own import own_requirement, requirement_of, source_of
from truss.environments.wanted import wanted_by
from truss.errors import EnvironmentBuildError


def wanted(folder: Path, text: str = "", variables: dict[str, str] | None = None, own: str | None = None):
    return wanted_by(folder, parse_config(text), own, variables or {})


def test_python_version_is_written_as_uv_takes_it(tmp_path):
    assert wanted(tmp_path, "python_version: py310").python == "3.10"
    assert wanted(tmp_path, "python_version: '3.12'").python == "3.12"


def test_pips_places_are_handed_on_unless_uv_has_its_own(tmp_path):
    pip = {"PIP_FIND_LINKS": "/a /b", "PIP_INDEX_URL": "https://index/simple"}
    assert wanted(tmp_path, variables=pip).places == (
        *("--index-url", "https://index/simple"),
        *("--find-links", "/a"),
        *("--find-links", "/b"),
    )
    assert wanted(tmp_path, variables=pip | {"UV_FIND_LINKS": "/c", "UV_DEFAULT_INDEX": "x"}).places == ()


def test_cpu_builds_are_asked_for_where_no_gpu_is_and_nobody_chose_a_build(tmp_path):
    assert wanted(tmp_path).cpu_builds
    assert not wanted(tmp_path, "resources: {accelerator: L4}").cpu_builds
    assert not wanted(tmp_path, "resources: {use_gpu: true}").cpu_builds
    assert not wanted(tmp_path, variables={"UV_TORCH_BACKEND": "cu128"}).cpu_builds
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    assert wanted(tmp_path, variables={"PIP_FIND_LINKS": str(wheels)}).cpu_builds
    (wheels / "torch-2.9.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert not wanted(tmp_path, variables={"PIP_FIND_LINKS": str(wheels)}).cpu_builds
    assert not wanted(tmp_path, variables={"UV_FIND_LINKS": f"/nowhere,{wheels}"}).cpu_builds


STATED = "requirements: [jax==0.7.0, tensorflow-cpu==2.20.0, onnxruntime==1.23.2, 'jax[tpu]', torch==2.9.0]"
FOR_GPUS = "jax[cuda12]==0.7.0", "tensorflow[and-cuda]==2.20.0", "onnxruntime-gpu==1.23.2"


def test_a_gpu_gets_the_builds_for_it_of_what_was_packaged_without_one(tmp_path):
    for resources in ("{accelerator: L4}", "{use_gpu: true}"):
        found = wanted(tmp_path, f"{STATED}\nresources: {resources}").lines
        assert found == (*FOR_GPUS, "jax[tpu]", "torch==2.9.0")
    assert wanted(tmp_path, STATED).lines[:3] == (
        *("jax==0.7.0", "tensorflow-cpu==2.20.0", "onnxruntime==1.23.2"),
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Onnx_Runtime", "Onnx_Runtime"),
        ("ONNXruntime", "onnxruntime-gpu"),
        ("jax", "jax[cuda12]"),
        ("jax == 0.7", "jax[cuda12] == 0.7"),
        ("torch==2.9.0+cpu", "torch==2.9.0"),
        ("torch==2.9.0+cu128", "torch==2.9.0+cu128"),
        ("jax>=0.7", "jax>=0.7"),
        ("jax==0.7; python_version > '3.9'", "jax==0.7; python_version > '3.9'"),
        ("-r more.txt", "-r more.txt"),
    ],
)
def test_a_line_that_says_itself_what_is_wanted_stays(line, expected):
    assert for_gpus([line]) == (expected,)


FROM_A_GPU = f"requirements: [{', '.join(map(repr, FOR_GPUS))}, torch==2.9.0+cu128]"
FOR_CPUS = "jax==0.7.0", "tensorflow==2.20.0", "onnxruntime==1.23.2", "torch==2.9.0"


def test_without_a_gpu_no_build_for_one_is_wanted_of_what_was_packaged_with_one(tmp_path):
    found = wanted(tmp_path, FROM_A_GPU)
    assert (found.lines, found.cpu_builds) == (FOR_CPUS, True)
    there = wanted(tmp_path, f"{FROM_A_GPU}\nresources: {{accelerator: L4}}")
    assert (there.lines, there.cpu_builds) == ((*FOR_GPUS, "torch==2.9.0+cu128"), False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("jax[cuda13]", "jax"),
        ("jax[cuda12_local,k8s] == 0.7.0", "jax[k8s] == 0.7.0"),
        ("JAX[rocm7-local]==0.8", "JAX==0.8"),
        ("jax[tpu]==0.7.0", "jax[tpu]==0.7.0"),
        ("Tensorflow[and_cuda]", "Tensorflow"),
        ("onnxruntime_gpu==1.23.2", "onnxruntime==1.23.2"),
        ("jaxlib==0.4.20+cuda12.cudnn89", "jaxlib==0.4.20"),
        ("torchvision==0.24.0+rocm6.4", "torchvision==0.24.0"),
        ("torch==2.9.0+cpu", "torch==2.9.0+cpu"),
        ("mine==1.0+cute", "mine==1.0+cute"),
        ("mine[and-cuda]", "mine[and-cuda]"),
        ("onnxruntime-gpu>=1.20", "onnxruntime-gpu>=1.20"),
        ("jax[cuda12]==0.7; python_version > '3.9'", "jax[cuda12]==0.7; python_version > '3.9'"),
        ("torch @ https://wheels/torch-2.9.0+cu128.whl", "torch @ https://wheels/torch-2.9.0+cu128.whl"),
    ],
)
def test_only_the_build_of_a_line_changes(line, expected):
    assert for_cpus([line]) == (expected,)


def test_a_requirements_file_that_is_not_there(tmp_path):
    with pytest.raises(EnvironmentBuildError, match="does not exist") as raised:
        wanted(tmp_path, "requirements_file: needs.txt")
    assert raised.value.where == str(tmp_path / "needs.txt")


def test_the_same_wishes_have_one_digest_wherever_the_truss_lies(tmp_path):
    one = wanted(tmp_path / "one", "requirements: [numpy==2.0]\npython_version: py311")
    assert one.digest == wanted(tmp_path / "two", "requirements: [numpy==2.0]\npython_version: py311").digest


@pytest.mark.parametrize(
    "text",
    [
        "requirements: [numpy==2.1]\npython_version: py311",
        "requirements: [numpy==2.0]\npython_version: py312",
    ],
)
def test_other_wishes_have_another_digest(tmp_path, text):
    assert (
        wanted(tmp_path, "requirements: [numpy==2.0]\npython_version: py311").digest
        != wanted(tmp_path, text).digest
    )


def test_paths_of_two_trusses_are_two_things(tmp_path):
    text = "requirements: [./vendored]"
    assert wanted(tmp_path / "one", text).digest != wanted(tmp_path / "two", text).digest


def test_an_edit_of_the_requirements_file_or_of_our_own_declarations_is_another_wish(tmp_path):
    (tmp_path / "needs.txt").write_text("numpy\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    own = f"-e {tmp_path}[runtime]"
    digests = {wanted(tmp_path, "requirements_file: needs.txt", own=own).digest}
    (tmp_path / "needs.txt").write_text("numpy\npandas\n")
    digests.add(wanted(tmp_path, "requirements_file: needs.txt", own=own).digest)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'truss'\n")
    digests.add(wanted(tmp_path, "requirements_file: needs.txt", own=own).digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        ({}, "truss[runtime]==1.2"),
        ({"url": "file:///a%20b", "dir_info": {"editable": True}}, "-e /a b[runtime]"),
        ({"url": "file:///src", "dir_info": {}}, "truss[runtime] @ file:///src"),
        ({"url": "file:///t.whl", "archive_info": {}}, "truss[runtime] @ file:///t.whl"),
        (
            {"url": "https://h/t.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "py"},
            "truss[runtime] @ git+https://h/t.git@abc#subdirectory=py",
        ),
    ],
)
def test_truss_is_required_as_it_was_installed(origin, line):
    assert requirement_of(origin, "1.2") == line


def test_the_source_tree_that_runs_here_is_found_in_its_line():
    source = source_of(own_requirement())
    assert source is not None
    assert (source / "src" / "truss" / "__init__.py").is_file()
    assert source_of("truss[runtime]==1.2") is None
