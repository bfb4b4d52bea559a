"""The Dockerfile: readable, with what only an engine can do, and nothing that the base says already."""

import pytest

from truss.build.dockerfile import needs_engine, read_fragment, render
from truss.build.inherited import ENVIRONMENT
from truss.build.settings import container_settings
from truss.config import parse_config
from truss.errors import ImageError
from truss.oci import ImageConfig, Platform

BASE = ImageConfig(Platform("amd64"), env={"PATH": "/usr/bin", "LANG": "C.UTF-8"})
CONFIG = """
model_name: iris
python_version: py311
system_packages: [libgomp1, curl]
build_commands: ["echo one > /opt/one", "python3 -c 'print(1)'"]
environment_variables: {QUOTE: 'a "b" $c'}
"""


def rendered(config, inherited=()):
    parsed = parse_config(config)
    settings = container_settings(BASE, parsed, Platform("amd64"), "sha256:0")
    return render(
        "docker.io/library/python:3.11-slim@sha256:0", settings, BASE.env, parsed, inherited=inherited
    )


def test_it_reads_from_top_to_bottom():
    text = rendered(CONFIG)
    order = [
        "FROM --platform=linux/amd64 docker.io/library/python:3.11-slim@sha256:0",
        "apt-get install --yes --no-install-recommends",
        "curl \\\n        libgomp1",
        "COPY site /opt/truss/site",
        'ENV PYTHONPATH="/opt/truss/runtime:/opt/truss/site"',
        'ENV QUOTE="a \\"b\\" \\$c"',
        "RUN echo one > /opt/one\nRUN python3 -c 'print(1)'",
        "COPY runtime /opt/truss/runtime",
        "COPY data /app",
        "COPY app /app",
        'LABEL io.truss.schema="1"',
        "USER 65532:0\nEXPOSE 8080/tcp\nSTOPSIGNAL SIGTERM\n"
        'ENTRYPOINT ["python3", "-m", "truss.runtime.container"]',
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "LANG" not in text


def test_what_is_not_asked_for_is_not_there():
    text = rendered("model_name: iris\n")
    assert "apt-get" not in text
    assert "\nRUN" not in text


def test_every_command_sees_the_secrets_of_the_build():
    mapping = "build: {secret_to_path_mapping: {token: /etc/token, auth: /etc/apt/auth.conf.d/ours}}\n"
    runs = [line for line in rendered(CONFIG + mapping).splitlines() if line.startswith("RUN")]
    mounts = (
        "--mount=type=secret,id=auth,target=/etc/apt/auth.conf.d/ours "
        "--mount=type=secret,id=token,target=/etc/token"
    )
    assert [line.startswith(f"RUN {mounts} ") for line in runs] == [True] * 3


def test_every_build_command_reads_what_it_inherits():
    runs = [line for line in rendered(CONFIG, [ENVIRONMENT]).splitlines() if line.startswith("RUN")]
    mount = "RUN --mount=type=secret,id=truss-environment,target=/run/truss/environment"
    assert [line.startswith(f"{mount} ") for line in runs] == [True] * 3
    assert f"{mount} . /run/truss/environment && echo one > /opt/one" in runs
    assert "apt-get" in runs[0]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", []),
        ("system_packages: [git]", ["system_packages"]),
        (CONFIG, ["system_packages", "build_commands"]),
        ("build: {dockerfile_fragment: more}", ["build.dockerfile_fragment"]),
    ],
)
def test_what_needs_an_engine(config, expected):
    assert needs_engine(parse_config(config)) == expected


FRAGMENT = parse_config("build: {dockerfile_fragment: Dockerfile.more}\nbuild_commands: ['true']\n")


def test_a_fragment_comes_after_the_commands_and_before_what_changes(tmp_path):
    (tmp_path / "Dockerfile.more").write_text("ARG LEVEL=1\nCOPY app/certs \\\n  from /certs\n")
    settings = container_settings(BASE, FRAGMENT, Platform("amd64"), "sha256:0")
    text = render("base", settings, BASE.env, FRAGMENT, fragment=read_fragment(tmp_path, FRAGMENT))
    order = [
        "RUN true",
        "# Dockerfile.more\nARG LEVEL=1\nCOPY app/certs \\\n  from /certs\n\n# the server",
        "USER 65532:0",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_a_fragment_that_cannot_be_is_named(tmp_path):
    with pytest.raises(ImageError, match="cannot be read"):
        read_fragment(tmp_path, FRAGMENT)
    (tmp_path / "Dockerfile.more").write_text("RUN true\n  from python:3.11\n")
    with pytest.raises(ImageError, match="cannot begin another") as error:
        read_fragment(tmp_path, FRAGMENT)
    assert error.value.where == f"{tmp_path / 'Dockerfile.more'}:2"
    outside = parse_config("build: {dockerfile_fragment: ../more}")
    with pytest.raises(ImageError, match="not in the Truss"):
        read_fragment(tmp_path, outside)
