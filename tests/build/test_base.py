"""Which image others are built on."""

import pytest

from truss.build.base import base_reference, check_python, stands_for
from truss.config import parse_config
from truss.errors import ImageError, InvalidReferenceError
from truss.oci import Reference

OWN = parse_config("base_image: {image: 'ghcr.io/team/base:2'}")


@pytest.mark.parametrize(
    ("config", "given", "mirror", "expected"),
    [
        ("", None, "", "docker.io/library/python:3.11-slim"),
        ("", None, "127.0.0.1:5000", "127.0.0.1:5000/library/python:3.11-slim"),
        ("", None, "mirror.example/hub/", "mirror.example/hub/library/python:3.11-slim"),
        ("", "debian:12", "127.0.0.1:5000", "127.0.0.1:5000/library/debian:12"),
        ("own", None, "127.0.0.1:5000", "ghcr.io/team/base:2"),
        ("own", "quay.io/a/b", "", "quay.io/a/b:latest"),
    ],
)
def test_what_is_given_goes_before_the_config_and_the_default(config, given, mirror, expected):
    found = base_reference(
        OWN if config else parse_config(""), "3.11", given, {"TRUSS_BASE_REGISTRY": mirror}
    )
    assert found == Reference.parse(expected)


def test_what_is_no_reference_is_refused():
    with pytest.raises(InvalidReferenceError):
        base_reference(parse_config(""), "3.11", "not a reference", {})


def test_a_base_with_another_python_is_refused():
    reference = Reference.parse("python:3.12-slim")
    check_python({}, "3.11", reference)
    check_python({"PYTHON_VERSION": "3.11.9"}, "3.11", reference)
    with pytest.raises(ImageError, match=r"holds Python 3.12.4, and the Truss is for Python 3.11"):
        check_python({"PYTHON_VERSION": "3.12.4"}, "3.11", reference)


DIGEST = f"@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("locked", "wanted", "same"),
    [
        ("python:3.11-slim", "python:3.11-slim", True),
        ("python:3.11-slim", "python:3.12-slim", False),
        ("127.0.0.1:5000/library/python:3.11-slim", "python:3.11-slim", True),
        ("mirror.example/hub/library/python:3.11-slim", "python:3.11-slim", True),
        ("mirror.example/hub/notlibrary/python:3.11-slim", "python:3.11-slim", False),
        ("mirror.example/team/base:2", "ghcr.io/team/base:2", False),
        ("ghcr.io/team/base:2", "ghcr.io/team/base:2", True),
        ("ghcr.io/team/base:2", f"ghcr.io/team/base:2{DIGEST}", True),
        ("ghcr.io/team/base:2", f"ghcr.io/team/base:2@sha256:{'1' * 64}", False),
    ],
)
def test_a_base_that_was_taken_stands_for_one_that_is_wanted(locked, wanted, same):
    assert stands_for(Reference.parse(locked + DIGEST), Reference.parse(wanted)) is same
