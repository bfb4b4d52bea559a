"""What is noted of uploads: by one process at a time, whole, and never in the way."""

from __future__ import annotations

import pytest

from truss.oci import Digest
from truss.oci.sessions import Note, Sessions

DIGEST = Digest.of(b"weights")


def test_what_is_noted_is_there_for_the_next(tmp_path):
    sessions = Sessions(tmp_path / "uploads")
    with sessions.of("https://a", "m", DIGEST) as note:
        assert note.read() == ""
        note.write("https://a/upload/1")
        note.write("https://a/upload/2")
    with sessions.of("https://a", "m", DIGEST) as note:
        assert note.read() == "https://a/upload/2"
        note.forget()
        assert note.read() == ""
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize(("registry", "repository"), [("https://b", "m"), ("https://a", "n")])
def test_each_repository_is_noted_by_itself(tmp_path, registry, repository):
    sessions = Sessions(tmp_path)
    with sessions.of("https://a", "m", DIGEST) as note:
        note.write("https://a/upload/1")
    with sessions.of(registry, repository, DIGEST) as note:
        assert note.read() == ""
    with sessions.of("https://a", "m", Digest.of(b"others")) as note:
        assert note.read() == ""


def test_two_that_send_the_same_are_not_in_each_others_way(tmp_path):
    sessions = Sessions(tmp_path)
    with sessions.of("https://a", "m", DIGEST) as first:
        first.write("https://a/upload/1")
        with sessions.of("https://a", "m", DIGEST) as second:
            assert second == Note()
            second.write("https://a/upload/2")
            second.forget()
        assert first.read() == "https://a/upload/1"


def test_where_nothing_can_be_noted_nothing_is(tmp_path):
    (tmp_path / "file").write_text("")
    for sessions in (Sessions(), Sessions(tmp_path / "file")):
        with sessions.of("https://a", "m", DIGEST) as note:
            note.write("https://a/upload/1")
            assert note.read() == ""
    with Sessions(tmp_path / "uploads").of("https://a", "m", DIGEST) as note:
        note.place.mkdir()  # in the way of a file
        note.write("https://a/upload/1")
        assert note.read() == ""
