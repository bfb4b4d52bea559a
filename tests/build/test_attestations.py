"""The bill of materials and the provenance that go along with an image."""

import hashlib
import json
import zipfile

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from truss.oci import Layout, Reference, Registry
from truss.oci.manifest import Manifest

pytestmark = [pytest.mark.registry, pytest.mark.network, pytest.mark.xdist_group("images")]

BILL, STATEMENT = "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"


@pytest.fixture(scope="module")
def built(bench, tmp_path_factory):
    """An image for two platforms, in the registry and in a folder, and what was said of it."""
    place = tmp_path_factory.mktemp("attested")
    folder = place / "attested"
    (folder / "model").mkdir(parents=True)
    (folder / "wheels").mkdir()
    (folder / "config.yaml").write_text(
        "model_name: attested\npython_version: py311\nrequirements: [./wheels/near-0.1-py3-none-any.whl]\n"
    )
    (folder / "model" / "model.py").write_text("class Model:\n    def predict(self, request): return 1\n")
    with zipfile.ZipFile(folder / "wheels" / "near-0.1-py3-none-any.whl", "w") as wheel:
        about = "near-0.1.dist-info"
        wheel.writestr("near.py", "x = 1\n")
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: near\nVersion: 0.1\nLicense: Ours\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files = ["near.py", *(f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD"))]
        wheel.writestr(f"{about}/RECORD", "".join(f"{name},,\n" for name in files))
    words = ("--platform", "linux/amd64,linux/arm64", "--output", place / "layout")
    told = bench.build(folder, "attested:1", *map(str, words))
    return bench, folder, place / "layout", told


def documents(layout, told, kind):
    """What is attached, by the platform's image it is attached to."""
    found = {}
    for one in layout.index.manifests:
        if one.artifact_type == kind:
            manifest = Manifest.parse(layout.blob(one).read())
            (blob,) = manifest.layers
            found[str(manifest.subject.digest)] = json.loads(layout.blob(blob).read())
    assert set(found) == {one["subject"] for one in told["attached"] if one["type"] == kind}
    return found


def test_they_lie_in_the_layout_and_under_tags_of_the_registry(built):
    bench, _, folder, told = built
    layout = Layout.open(folder)
    assert str(layout.find().digest) == told["digest"]  # what is attached is no other image
    repository = Registry(bench.registry).repository("attested")
    assert len(told["attached"]) == 4
    for one in told["attached"]:
        listed = repository.referrers(Reference.parse(f"x@{one['subject']}").digest, one["type"])
        assert [str(descriptor.digest) for descriptor in listed] == [one["digest"]]
    # The registry lists nothing itself: everybody finds it under a tag made of the image's digest.
    assert set(repository.tags()) == {"1", *(one["subject"].replace(":", "-") for one in told["attached"])}


def test_the_bill_is_valid_and_names_every_wheel(built):
    _, folder, layout, told = built
    wheel = hashlib.sha256((folder / "wheels" / "near-0.1-py3-none-any.whl").read_bytes()).hexdigest()
    bills = documents(Layout.open(layout), told, BILL)
    assert len(bills) == 2
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    locked = json.loads((folder / "truss.lock").read_text())["wheels"]
    for image, bill in bills.items():
        assert validator.validate_str(json.dumps(bill)) is None
        assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": image[7:]}]
        parts = {part["name"]: part for part in bill["components"]}
        assert parts["near"]["hashes"] == [{"alg": "SHA-256", "content": wheel}]
        assert parts["near"]["licenses"] == [{"license": {"name": "Ours"}}]
        assert parts["uvicorn"]["purl"] == f"pkg:pypi/uvicorn@{parts['uvicorn']['version']}"
        assert parts["uvicorn"]["licenses"]
        (platform,) = (one["value"] for one in bill["metadata"]["component"]["properties"])
        libraries = {part["hashes"][0]["content"] for part in bill["components"] if "hashes" in part}
        assert libraries > {line.rpartition(":")[2] for line in locked[platform]}


def test_the_statement_names_what_was_built_from_what(built):
    _, _, layout, told = built
    statements = documents(Layout.open(layout), told, STATEMENT)
    bills = documents(Layout.open(layout), told, BILL)
    for image, statement in statements.items():
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["subject"] == [{"name": "attested", "digest": {"sha256": image[7:]}}]
        assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
        definition = statement["predicate"]["buildDefinition"]
        found = {one["uri"]: one.get("digest") for one in definition["resolvedDependencies"]}
        bill = {
            part["purl"]: part["hashes"][0]["content"]
            for part in bills[image]["components"]
            if "hashes" in part
        }
        assert {uri: digest["sha256"] for uri, digest in found.items()} == bill
        truss = definition["externalParameters"]["truss"]["digest"]["sha256"]
        config = Manifest.parse(
            Layout.open(layout)
            .blob(
                next(
                    one for one in Layout.open(layout).images().images if str(one.digest) == image
                ).manifest.descriptor
            )
            .read()
        ).config
        labels = json.loads(Layout.open(layout).blob(config).read())["config"]["Labels"]
        assert labels["io.truss.digest"] == f"sha256:{truss}"


def test_they_are_the_same_again_and_say_nothing_of_who_built(built, tmp_path):
    bench, folder, layout, told = built
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.yaml", "model/model.py", "wheels/near-0.1-py3-none-any.whl"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes((folder / name).read_bytes())
    again = bench.build(copy, "again:1", cache=tmp_path / "cache")
    assert len(again["attached"]) == 2
    assert again["attached"] == [one for one in told["attached"] if one["subject"] == again["digest"]]
    texts = [json.dumps(documents(Layout.open(layout), told, kind)) for kind in (BILL, STATEMENT)]
    for private in (str(folder), str(tmp_path), "/root", "/home"):
        assert not [text for text in texts if private in text]


def test_they_are_left_out_when_asked(bench, small, tmp_path):
    folder = small("bare")
    told = bench.build(folder, "bare:1", "--no-attestations", "--output", str(tmp_path / "layout"))
    assert told["attached"] == []
    assert list(Registry(bench.registry).repository("bare").tags()) == ["1"]
    assert len(Layout.open(tmp_path / "layout").index.manifests) == 1


def test_an_archive_for_an_engine_has_none(bench, small, tmp_path):
    done = bench.run("build", small("archive"), "--output", tmp_path / "image.tar", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["attached"] == []
