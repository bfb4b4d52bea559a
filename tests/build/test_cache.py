"""Layers are made once; large files are read once."""

import os

import pytest

from truss.build.cache import LayerCache, key_of
from truss.errors import ImageError
from truss.oci import Entry


@pytest.fixture
def cache(tmp_path):
    return LayerCache(tmp_path / "cache")


def test_layers_are_made_once_for_a_key(cache):
    asked = []

    def make():
        asked.append(1)
        yield cache.layer([Entry.file("/a", b"1")], "one")
        yield cache.layer([Entry.file("/b", b"2")], "two")

    first = cache.layers("key", make)
    assert cache.layers("key", make) == first
    assert [layer.created_by for layer in first] == ["one", "two"]
    assert len(asked) == 1


def test_a_kept_layer_that_lost_its_content_is_made_again(cache):
    def make():
        yield cache.layer([Entry.file("/a", b"1")], "one")

    (layer,) = cache.layers("key", make)
    layer.blob.content.path.unlink()
    (again,) = cache.layers("key", make)
    assert again.blob.digest == layer.blob.digest
    assert b"".join(again.blob.checked_blocks())


def test_the_same_content_is_kept_once_and_stays_as_it_is(cache):
    one = cache.layer([Entry.file("/a", b"1")], "one")
    two = cache.layer([Entry.file("/a", b"1")], "two")
    assert one.blob.digest == two.blob.digest
    assert list(one.blob.checked_blocks()) == list(two.blob.checked_blocks())


def test_a_large_file_is_read_once_unless_it_changed(cache, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    stat = file.stat()
    first = cache.file_layer("/w", file, "data")
    # Other content under the same size, time and inode: only somebody who means to can tell.
    with file.open("r+b") as out:
        out.write(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.file_layer("/w", file, "data").diff_id == first.diff_id
    assert cache.file_layer("/w", file, "data", verify=True).diff_id != first.diff_id
    assert cache.file_layer("/w", file, "data").diff_id != first.diff_id
    os.utime(file, ns=(0, 0))
    file.write_bytes(b"one")
    assert cache.file_layer("/w", file, "data").diff_id == first.diff_id


def test_texts_are_made_once(cache):
    assert cache.text("k", lambda: "one") == "one"
    assert cache.text("k", lambda: "two") == "one"


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="cache cannot be written") as caught:
        LayerCache(tmp_path / "file" / "cache").text("k", lambda: "one")
    assert "TRUSS_CACHE_DIR" in caught.value.hint


def test_keys_tell_parts_apart():
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("abc")}) == 3
