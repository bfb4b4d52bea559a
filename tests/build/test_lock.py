"""truss.lock: written, read back, and refused when it is not one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.build.lock import FILE, Lock, found_lock, read_lock, write_lock
from truss.errors import ImageError
from truss.oci import Platform, Reference

LINES = st.lists(st.from_regex(r"[a-z]{1,9}==[0-9]{1,3} \\", fullmatch=True), max_size=5).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


BASE = f"docker.io/library/python:3.11-slim@sha256:{'0' * 64}"


def lock_of(**wheels):
    """A lock with those wheels, by processor."""
    named = {f"linux/{name}": text for name, text in wheels.items()}
    return Lock("3.11", BASE, "sha256:1", {name: f"sha256:{name}" for name in named}, named)


@given(st.dictionaries(st.sampled_from(["amd64", "arm64"]), LINES))
def test_it_is_read_back_as_it_was_written(tmp_path_factory, wheels):
    folder = tmp_path_factory.mktemp("lock")
    lock = lock_of(**wheels)
    write_lock(folder, lock)
    assert read_lock(folder) == lock
    assert str(lock.reference) == lock.base


def test_a_platform_it_was_not_made_for():
    lock = lock_of(amd64="")
    with pytest.raises(ImageError, match="no wheels for linux/arm64") as caught:
        lock.wheels_for(Platform("arm64"))
    assert "--platform linux/amd64,linux/arm64" in caught.value.hint


def test_platforms_of_the_same_wishes_stay_beside_each_other():
    old, new = lock_of(amd64="a==1", arm64="a==1"), lock_of(arm64="a==2")
    both = new.beside(old)
    assert both.wheels == {"linux/amd64": "a==1", "linux/arm64": "a==2"}
    assert set(both.bases) == {"linux/amd64", "linux/arm64"}
    assert new.beside(None) == new
    for other in ({"python": "3.12"}, {"base": "other"}, {"wishes": "sha256:2"}):
        assert new.beside(replace(old, **other)) == new


def test_a_lock_of_other_wishes_is_refused():
    lock = lock_of(amd64="")
    base = Reference.parse("python:3.11-slim")
    lock.check("3.11", "sha256:1", base)
    with pytest.raises(ImageError, match="the requirements of the Truss") as caught:
        lock.check("3.11", "sha256:2", base)
    assert "without --locked" in caught.value.hint
    with pytest.raises(ImageError, match="the version of Python"):
        lock.check("3.12", "sha256:1", Reference.parse("python:3.12-slim"))
    with pytest.raises(ImageError, match="the base is to be ghcr"):
        lock.check("3.11", "sha256:1", Reference.parse("ghcr.io/team/base:2"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 1}', '{"version": 9}', '{"version": 1, "wheels": []}']
)
def test_what_is_no_lock_is_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ImageError) as caught:
        read_lock(tmp_path)
    assert caught.value.where == str(tmp_path / FILE)


def test_no_lock(tmp_path):
    assert found_lock(tmp_path) is None
    with pytest.raises(ImageError, match="there is no lock"):
        read_lock(tmp_path)
