"""What uv resolves becomes lines that pip and uv take."""

import pytest

from truss.build.pylock import requirement_lines
from truss.errors import EnvironmentBuildError

HASH = "a" * 64


def package(name, files):
    return f'[[packages]]\nname = "{name}"\nversion = "1.0"\n{files}\n'


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (f'wheels = [{{ url = "https://x/a.whl", hashes = {{ sha256 = "{HASH}" }} }}]', "a==1.0"),
        (f'archive = {{ url = "https://x/a.whl", hashes = {{ sha256 = "{HASH}" }} }}', "a @ https://x/a.whl"),
        (f'archive = {{ path = "near/a.whl", hashes = {{ sha256 = "{HASH}" }} }}', "./near/a.whl"),
        (f'archive = {{ path = "/far/a.whl", hashes = {{ sha256 = "{HASH}" }} }}', "a @ file:///far/a.whl"),
    ],
)
def test_a_line_names_one_file_and_its_digest(files, line):
    assert requirement_lines(package("a", files)) == f"{line} --hash=sha256:{HASH}\n"


def test_nothing_is_needed():
    assert requirement_lines('lock-version = "1.0"\n') == ""


def test_what_has_no_digest_is_named():
    with pytest.raises(EnvironmentBuildError, match="'a'"):
        requirement_lines(package("a", 'directory = { path = "a" }'))
