"""References: what engines read into a name, and what is refused with which advice."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.errors import InvalidReferenceError
from truss.oci.digest import Digest
from truss.oci.reference import Reference, Repository

ZEROS = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("team/model", "docker.io/team/model:latest"),
        ("docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/team/model:1", "docker.io/team/model:1"),
        ("localhost/model", "localhost/model:latest"),
        ("localhost:5000/model:1.0", "localhost:5000/model:1.0"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/model", "[::1]:5000/model:latest"),
        ("[2001:db8::1]/model:x", "[2001:db8::1]/model:x"),
        ("Registry/model", "Registry/model:latest"),
        ("ghcr.io/team/my__model.v2-x", "ghcr.io/team/my__model.v2-x:latest"),
        (f"ghcr.io/team/model@{ZEROS}", f"ghcr.io/team/model@{ZEROS}"),
        (f"ghcr.io/team/model:1@{ZEROS}", f"ghcr.io/team/model:1@{ZEROS}"),
        ("  ghcr.io/team/model:1\n", "ghcr.io/team/model:1"),
    ],
)
def test_a_name_is_read_as_engines_read_it(text, full):
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "missing"),
        ("ghcr.io/", "missing"),
        ("Model", "'model'"),
        ("ghcr.io/Team/model", "'team/model'"),
        ("https://ghcr.io/team/model", "https://"),
        ("ghcr.io/team//model", "''"),
        ("ghcr.io/team/_model", "'_model'"),
        ("ghcr.io/team/a..b", "'a..b'"),
        ("ghcr.io/../model", "'..'"),
        ("model:", "tag ''"),
        ("model:.hidden", "'.hidden'"),
        ("model:" + "x" * 129, "128"),
        ("model@sha256:abc", "64"),
        ("model@" + ZEROS.upper(), "64"),
        ("gh cr.io/model", "'gh cr.io'"),
        ("-host.io/model", "'-host.io'"),
        ("ghcr.io/" + "a" * 256, "256"),
    ],
)
def test_what_names_no_image_is_refused_with_what_is_wrong(text, hint):
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse(text)
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_registry_is_asked_for_the_digest_before_the_tag():
    reference = Reference.parse("model:1")
    assert reference.version == "1"
    pinned = reference.at(Digest.parse(ZEROS))
    assert pinned.version == ZEROS
    assert pinned.tag == "1"


labels = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
registries = st.one_of(
    st.just("localhost"),
    st.builds("localhost:{}".format, st.integers(1, 65535)),
    st.builds("{}.{}".format, labels, labels).filter(lambda host: not host.endswith("docker.io")),
    st.just("docker.io"),
)
parts = st.builds("{}{}{}".format, labels, st.sampled_from([".", "_", "__", "-", "---"]), labels) | labels
paths = st.lists(parts, min_size=2, max_size=4).map("/".join)
tags = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=128).filter(
    lambda tag: tag[0] not in ".-"
)
digests = st.binary().map(Digest.of)


@given(registries, paths, st.none() | tags, st.none() | digests)
def test_every_reference_is_read_back_from_its_text(registry, path, tag, digest):
    wanted = Reference(Repository(registry, path), tag if digest or tag else "latest", digest)
    assert Reference.parse(str(wanted)) == wanted


@given(st.text(string.printable, max_size=40) | st.text(max_size=20))
def test_any_text_is_read_to_the_same_reference_again_or_refused(text):
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError:
        return
    assert Reference.parse(str(reference)) == reference
