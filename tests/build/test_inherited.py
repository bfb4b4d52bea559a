"""What the commands of a build inherit: written so that a shell reads exactly what this machine says."""

import subprocess

import pytest

from truss.build.inherited import CERTIFICATES, ENVIRONMENT, PLACES, inherited, with_environment


def test_nothing_is_handed_on_where_nothing_is_set():
    assert inherited({"PATH": "/bin", "PIP_INDEX_URL": ""}) == {}


def test_a_shell_reads_what_is_set(tmp_path):
    url = "https://reader:it's $HOME@packages.example/simple"
    found = inherited({"PIP_INDEX_URL": url, "UV_INDEX_URL": "https://b", "AWS_SECRET_ACCESS_KEY": "private"})
    assert set(found) == {ENVIRONMENT}
    (tmp_path / "environment").write_text(found[ENVIRONMENT])
    script = f'. {tmp_path / "environment"} && printf %s "$PIP_INDEX_URL"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == url
    assert "private" not in found[ENVIRONMENT]


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"])
def test_certificates_are_handed_on_whole(name, tmp_path):
    bundle = tmp_path / "ours.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    found = inherited({name: str(bundle)})
    assert found[CERTIFICATES] == bundle.read_text()
    assert f"export SSL_CERT_FILE={PLACES[CERTIFICATES]}\n" in found[ENVIRONMENT]
    assert str(bundle) not in found[ENVIRONMENT]


def test_certificates_that_cannot_be_read_or_mounted_are_left_out(tmp_path):
    (tmp_path / "long.pem").write_text("x" * (500 * 1024 + 1))
    assert inherited({"SSL_CERT_FILE": str(tmp_path / "missing.pem")}) == {}
    assert inherited({"SSL_CERT_FILE": str(tmp_path / "long.pem")}) == {}


@pytest.mark.parametrize(
    ("command", "reads"),
    [
        ("pip install a", True),
        ("--mount=type=cache,target=/c pip install a", False),
        ('["pip", "install"]', False),
    ],
)
def test_only_a_line_of_a_shell_reads_the_environment(command, reads):
    assert with_environment(command) == (f". {PLACES[ENVIRONMENT]} && {command}" if reads else command)
