"""uv's failures in a sentence."""

import contextlib
import functools
import os
import zipfile
from http.server import SimpleHTTPRequestHandler

import pytest
from certificates import make_certificate, serving

from truss.environments.uv import BUNDLES, condensed, run_uv, with_certificates
from truss.errors import EnvironmentBuildError


@pytest.mark.parametrize(
    ("said", "condensed_to"),
    [
        (
            "error: No solution found when resolving dependencies\n"
            "  cause: Because there is no version of numpy==99 and you require numpy==99, we can conclude "
            "that your requirements are unsatisfiable.\n",
            "Because there is no version of numpy==99 and you require numpy==99",
        ),
        (
            "  × No solution found when resolving dependencies:\n"
            "  ╰─▶ Because numpy was not found in the package registry and you require\n"
            "      numpy, we can conclude that your requirements are unsatisfiable.\n",
            "Because numpy was not found in the package registry and you require numpy",
        ),
        ("error: Failed to fetch: `https://host/simple/`\n", "Failed to fetch: `https://host/simple/`"),
    ],
)
def test_an_account_is_condensed(said, condensed_to):
    assert condensed(said) == condensed_to


def test_a_failure_says_what_was_being_done(tmp_path):
    with pytest.raises(EnvironmentBuildError, match=r"the lock cannot be read: .*requirements\.txt"):
        run_uv(["pip", "compile", "requirements.txt"], tmp_path, "the lock cannot be read")


@pytest.mark.network
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"])
def test_certificates_are_trusted_whoever_they_are_named_for(variable, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.endswith(("_proxy", "_PROXY"))]:
        monkeypatch.delenv(name)
    for name in (*BUNDLES, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_NO_CACHE", "1")
    (tmp_path / "requirements.in").write_text("ours\n")
    with index_of_one_wheel(tmp_path) as url:
        words = ["pip", "compile", "requirements.in", "--no-header", "--default-index", url]
        with pytest.raises(EnvironmentBuildError):
            run_uv(words, tmp_path, "not trusted")
        monkeypatch.setenv(variable, str(tmp_path / "authority.pem"))
        assert "ours==1.0" in run_uv(words, tmp_path, "trusted")


def test_uvs_own_certificates_come_first(tmp_path):
    (tmp_path / "a.pem").touch()
    given = {"SSL_CERT_FILE": "mine.pem", "PIP_CERT": str(tmp_path / "a.pem")}
    assert with_certificates(given)["SSL_CERT_FILE"] == "mine.pem"
    assert "SSL_CERT_FILE" not in with_certificates({"PIP_CERT": str(tmp_path / "missing.pem")})


@contextlib.contextmanager
def index_of_one_wheel(folder):
    """The address of an index of packages that only an authority of our own vouches for."""
    authority = make_certificate(folder, "authority")
    make_certificate(folder, "index", authority)
    served = folder / "served" / "ours"
    served.mkdir(parents=True)
    with zipfile.ZipFile(served / "ours-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("ours-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
        wheel.writestr("ours-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("ours-1.0.dist-info/RECORD", "")
    (served / "index.html").write_text('<a href="ours-1.0-py3-none-any.whl">ours-1.0-py3-none-any.whl</a>')
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder / "served"))
    with serving(folder, "index", handler) as url:
        yield url
