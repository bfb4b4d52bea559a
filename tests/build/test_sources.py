"""Packages that are published as source only: made into wheels, or named early."""

import io
import json
import tarfile

import pytest

from truss.build.resolution import Target, resolve, unpack
from truss.build.sources import from_source
from truss.environments import Wanted
from truss.errors import EnvironmentBuildError
from truss.oci import Layout, Platform
from truss.oci.manifest import Manifest

pytestmark = pytest.mark.network

BACKEND = """
import zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    if "FAILS":
        raise SystemExit("no compiler here")
    about = "NAME-1.0.dist-info"
    files = {
        "NAME.py": "x = 1\\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\\nName: NAME\\nVersion: 1.0\\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: TAG\\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(f"{directory}/NAME-1.0-TAG.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name), text)
    return "NAME-1.0-TAG.whl"
"""


def write_source(folder, name, tag, fails=""):
    """Write the archive of a package whose wheel would have that tag."""
    project = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
    )
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": project,
        "backend.py": BACKEND.replace("NAME", name).replace("TAG", tag).replace("FAILS", fails),
    }
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def wanted(tmp_path):
    (tmp_path / "published").mkdir()

    def wanted(*lines):
        return Wanted(tmp_path, "3.11", lines, places=("--find-links", str(tmp_path / "published")))

    return wanted


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_a_pure_one_is_made_into_a_wheel_for_any_platform(tmp_path, wanted, architecture):
    write_source(tmp_path / "published", "one_of_ours", "py3-none-any")
    write_source(tmp_path / "published", "two_of_ours", "py3-none-any")
    target = Target(Platform(architecture), "3.11")
    said = []
    wishes = wanted("one-of-ours", "Two.of_ours==1.0")
    lock = resolve(wishes, target, said.append)
    assert sorted(from_source(lock)) == ["one-of-ours", "two-of-ours"]
    assert said == ["Making one-of-ours, two-of-ours from source: there is no wheel"]
    unpack(lock, wishes, target, tmp_path / "site")
    assert (tmp_path / "site" / "one_of_ours.py").is_file()
    assert (tmp_path / "site" / "uvicorn").is_dir()


@pytest.mark.parametrize(
    ("architecture", "tag", "fails", "reason"),
    [
        (
            "amd64",
            "cp311-cp311-linux_x86_64",
            "",
            "has to be compiled there (here it makes cp311-cp311-linux_x86_64)",
        ),
        ("arm64", "cp311-cp311-linux_x86_64", "", "none can be made"),
        ("amd64", "py3-none-any", "always", "no compiler here"),
    ],
)
def test_one_that_compiles_is_named_with_what_to_do(tmp_path, wanted, architecture, tag, fails, reason):
    write_source(tmp_path / "published", "compiled_of_ours", tag, fails)
    with pytest.raises(EnvironmentBuildError) as caught:
        resolve(wanted("compiled-of-ours"), Target(Platform(architecture), "3.11"))
    assert reason in caught.value.message
    assert "compiled" in caught.value.message
    assert f"linux/{architecture}" in caught.value.message
    assert "`pip wheel`" in caught.value.hint


def test_what_does_not_exist_is_said_as_before(wanted):
    with pytest.raises(EnvironmentBuildError, match="nothing-like-this-of-ours"):
        resolve(wanted("nothing-like-this-of-ours"), Target(Platform("amd64"), "3.11"))


@pytest.mark.registry
@pytest.mark.xdist_group("images")
def test_it_is_in_the_image_and_its_bill(bench, small, tmp_path, monkeypatch):
    write_source(tmp_path / "published", "one_of_ours", "py3-none-any")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "published"))
    folder = small("source", config="requirements: [one_of_ours]\n")
    first = bench.build(folder, "source:1", "--output", str(tmp_path / "layout"))
    again = bench.build(folder, "source:2", "--locked", cache=tmp_path / "cache")
    assert again["digest"] == first["digest"]
    layout = Layout.open(tmp_path / "layout")
    (digest,) = (one["digest"] for one in first["attached"] if one["type"].endswith("cyclonedx+json"))
    (bill,) = (one for one in layout.index.manifests if str(one.digest) == digest)
    document = json.loads(layout.blob(Manifest.parse(layout.blob(bill).read()).layers[0]).read())
    (part,) = (part for part in document["components"] if part["name"] == "one-of-ours")
    assert part["properties"] == [{"name": "truss:digest-of", "value": "the source archive"}]
