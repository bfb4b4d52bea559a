"""Layers: the same bytes whatever made them, readable by other tools, and nothing that leaves the image."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import subprocess
import sys
import tarfile
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truss.errors import ImageError
from truss.oci.content import BLOCK_SIZE, FileContent, Joined, Memory
from truss.oci.digest import Digest
from truss.oci.layer import Entry, archive, folder_entries, packed_layer, plain_layer

MIB = 1 << 20


def read(content) -> bytes:
    return b"".join(content.blocks())


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


SMALL = (
    Entry.file("/app/model/model.py", b"class Model: ...\n"),
    Entry.file("app/run", b"#!/bin/sh\n", 0o755),
    Entry.symlink("/app/latest", "model/model.py"),
    Entry.folder("/app/empty"),
)


def test_these_entries_have_this_digest_on_every_machine_and_python():
    layer = plain_layer(SMALL)
    assert str(layer.diff_id) == "sha256:b592f71ffa14fa9c2a6c2aec0dd31a6f21a78a209768139a56915941d4dce3ef"
    assert layer.blob.digest == layer.diff_id


def test_parents_are_stated_but_not_the_folders_of_every_base():
    data = read(archive([Entry.file("/usr/local/lib/x/y.py", b""), Entry.file("/tmp/z", b"")]))
    assert [(one.name, one.mode, one.isdir()) for one in members(data)] == [
        ("tmp/z", 0o644, False),
        ("usr/local", 0o755, True),
        ("usr/local/lib", 0o755, True),
        ("usr/local/lib/x", 0o755, True),
        ("usr/local/lib/x/y.py", 0o644, False),
    ]


def test_nothing_of_the_machine_is_in_a_layer():
    for one in members(read(archive(SMALL))):
        assert (one.uid, one.gid, one.uname, one.gname, one.mtime) == (0, 0, "", "", 0)


def test_a_layer_does_not_depend_on_folder_user_umask_or_day(tmp_path):
    script = """
import os, sys, pathlib
from truss.oci.layer import folder_entries, packed_layer
import deflate  # the other user may not read where it is installed
os.umask(int(sys.argv[2], 8))
folder = pathlib.Path(sys.argv[1]); folder.mkdir(parents=True)
if sys.argv[4] != "0": os.chown(folder, int(sys.argv[4]), int(sys.argv[4])); os.setuid(int(sys.argv[4]))
(folder / "b").mkdir(); (folder / "b" / "run").write_text("x" * 100_000); (folder / "b" / "run").chmod(0o700)
(folder / "a.txt").write_text("a"); os.utime(folder / "a.txt", (int(sys.argv[3]),) * 2)
layer = packed_layer(folder_entries(folder, "/app"), folder / "layer")
print(layer.blob.digest, layer.diff_id)
"""
    tmp_path.chmod(0o755)
    for parent in itertools.takewhile(lambda one: one.stat().st_uid == os.getuid(), tmp_path.parents):
        parent.chmod(0o755)
    user = "65534" if os.getuid() == 0 else "0"
    answers = {
        subprocess.run(
            [sys.executable, "-c", script, tmp_path / name, umask, day, uid],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name, umask, day, uid in [("one", "022", "0", "0"), ("two", "077", "1700000000", user)]
    }
    assert len(answers) == 1


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
contents = st.binary(max_size=2000)
files = st.dictionaries(st.lists(names, min_size=1, max_size=5).map("/".join), contents, max_size=8).filter(
    lambda found: not any(one.startswith(f"{other}/") for one in found for other in found)
)


@given(files, st.randoms())
def test_every_file_is_read_back_in_any_order_of_entries(found, random):
    entries = [Entry.file(path, content) for path, content in found.items()]
    data = read(archive(entries))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        back = {one.name: tar.extractfile(one).read() for one in tar.getmembers() if one.isfile()}
    assert back == found
    random.shuffle(entries)
    assert read(archive(entries)) == data


@given(files)
@settings(max_examples=25)
def test_a_packed_layer_is_the_plain_one_compressed(tmp_path_factory, found):
    file = tmp_path_factory.mktemp("layer") / "layer"
    entries = [Entry.file(path, content) for path, content in found.items()]
    packed, plain = packed_layer(entries, file), plain_layer(entries)
    assert gzip.decompress(file.read_bytes()) == read(plain.blob.content)
    assert packed.diff_id == plain.diff_id
    assert packed.blob.digest == Digest.of(file.read_bytes())
    assert packed.blob.size == file.stat().st_size


@given(st.lists(st.binary(max_size=50)), st.integers(0, 400))
def test_content_is_read_from_any_place(parts, start):
    joined = Joined.of([Memory(part) for part in parts])
    assert joined.size == len(b"".join(parts))
    assert b"".join(joined.blocks(start)) == b"".join(parts)[start:]
    assert all(joined.blocks(start))


@given(st.integers(0, 3 * BLOCK_SIZE))
@settings(max_examples=20)
def test_a_file_is_read_from_any_place(tmp_path_factory, start):
    path = tmp_path_factory.mktemp("file") / "file"
    data = bytes(range(256)) * (2 * BLOCK_SIZE // 256) + b"end"
    path.write_bytes(data)
    blocks = list(FileContent.of(path).blocks(start))
    assert b"".join(blocks) == data[start:]
    assert all(0 < len(block) <= BLOCK_SIZE for block in blocks)


@pytest.mark.parametrize("path", ["", "/", "..", "../x", "a/../b", "a//b", "./a", "a\0b", "a/\udc80"])
def test_paths_that_leave_the_image_or_are_none_are_refused(path):
    with pytest.raises(ImageError, match="is not a path inside an image"):
        archive([Entry.file(path, b"")])


@pytest.mark.parametrize("target", ["../../etc/passwd", "../..", "", "a\0"])
def test_links_that_leave_the_image_are_refused(target):
    with pytest.raises(ImageError, match="points"):
        archive([Entry.symlink("app/link", target)])


@pytest.mark.parametrize("target", ["../etc", "/usr/bin/python3", "next", "./a/../b"])
def test_links_inside_the_image_are_kept(target):
    (member,) = (one for one in members(read(archive([Entry.symlink("app/link", target)]))) if one.issym())
    assert member.linkname == target


@pytest.mark.parametrize("above", [Entry.symlink("app", "/etc"), Entry.file("app", b"")])
def test_nothing_is_written_through_a_link_or_a_file(above):
    with pytest.raises(ImageError, match="leads through"):
        archive([above, Entry.file("app/x/passwd", b"")])


def test_one_path_holds_one_thing():
    with pytest.raises(ImageError, match="same path"):
        archive([Entry.file("a", b"1"), Entry.file("/a", b"2")])
    assert len(members(read(archive([Entry.folder("a"), Entry.folder("a")])))) == 1


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    source = tmp_path / "weights"
    source.write_bytes(b"1" * 10)
    entry = Entry.file("weights", source)
    source.write_bytes(b"1" * 11)
    with pytest.raises(ImageError, match="written to while") as caught:
        plain_layer([entry])
    assert caught.value.where == str(source)


def test_a_file_that_changes_between_two_blocks_is_noticed(tmp_path):
    source = tmp_path / "weights"
    source.write_bytes(bytes(2 * BLOCK_SIZE))
    blocks = FileContent.of(source).blocks()
    next(blocks)
    os.utime(source, ns=(0, 0))
    with pytest.raises(ImageError, match="written to while"):
        list(blocks)


def test_a_failure_leaves_no_file(tmp_path):
    source = tmp_path / "weights"
    source.write_bytes(b"1")
    entry = Entry.file("weights", source)
    source.unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        packed_layer([entry], tmp_path / "layer")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ImageError, match="cannot be written") as caught:
        packed_layer(SMALL, tmp_path / "missing" / "layer")
    assert caught.value.where == str(tmp_path / "missing" / "layer")


def test_only_files_folders_and_links_are_taken(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="regular files"):
        list(folder_entries(tmp_path, "/app"))


def test_a_folder_keeps_its_links_and_who_may_run_what(tmp_path):
    (tmp_path / "bin").mkdir(0o700)
    (tmp_path / "bin" / "run").write_bytes(b"")
    (tmp_path / "bin" / "run").chmod(0o500)
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "link").symlink_to("bin/run")
    found = [(one.name, one.mode) for one in members(read(archive(folder_entries(tmp_path, "/app"))))]
    assert found == [
        ("app", 0o755),
        ("app/bin", 0o755),
        ("app/bin/run", 0o755),
        ("app/link", 0o777),
        ("app/secret", 0o644),
    ]


def test_a_full_disk_leaves_no_file(tmp_path):
    script = """
import os, resource, sys
from pathlib import Path
from truss.errors import ImageError
from truss.oci.layer import Entry, packed_layer
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    packed_layer([Entry.file("x", os.urandom(3 << 20))], Path(sys.argv[1]) / "layer")
except ImageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{tmp_path / 'layer'}: the file cannot be written: File too large\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_large_file_passes_through_little_memory(tmp_path, compression):
    source = tmp_path / "weights"
    with source.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(MIB))
    tracemalloc.start()
    try:
        plain = plain_layer([Entry.file("weights", source)])
        _, in_plain = tracemalloc.get_traced_memory()
        packed = packed_layer([Entry.file("weights", source)], tmp_path / "layer", compression=compression)
        _, in_packed = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert plain.diff_id == packed.diff_id
    assert in_plain < 2 * MIB
    assert in_packed < 8 * MIB * (os.cpu_count() or 1)


def test_sizes_beyond_what_octal_digits_say_are_read_back():
    class Endless:
        size = 9 * 1024**3

        def blocks(self, start=0):
            yield from ()

    head = archive([Entry.file("weights", Endless())]).parts[0]
    with tarfile.open(fileobj=io.BytesIO(read(head) + bytes(1024))) as tar:
        assert tar.next().size == Endless.size


def test_a_plain_layer_of_known_digest_reads_nothing(tmp_path):
    source = tmp_path / "weights"
    source.write_bytes(b"1" * 1000)
    known = plain_layer([Entry.file("weights", source)]).diff_id
    entry = Entry.file("weights", source)
    source.unlink()
    layer = plain_layer([entry], digest=known)
    assert (layer.blob.digest, layer.blob.size) == (known, 512 + 1024 + 1024)
