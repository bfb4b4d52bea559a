"""Compression: read by everybody, the same whatever did it, and damage is noticed."""

from __future__ import annotations

import gzip
import os
import random
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from truss.errors import BrokenImageError
from truss.oci.compression import compressed, decompressed

MIB = 1 << 20
COMPRESSIONS = ["none", "gzip", "zstd"]


def joined(blocks) -> bytes:
    return b"".join(blocks)


def cut(data: bytes, sizes: list[int]):
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@given(st.binary(max_size=5000), st.lists(st.integers(0, 1000)), st.sampled_from(COMPRESSIONS))
@settings(deadline=None)
def test_content_comes_back_however_it_was_cut(data, sizes, compression):
    done = joined(compressed([data], compression))
    assert joined(compressed(cut(data, sizes), compression)) == done
    assert joined(decompressed(cut(done, sizes), compression)) == data


@pytest.mark.parametrize("kind", ["text", "noise", "both"])
def test_other_tools_read_large_content_and_the_number_of_threads_is_not_seen(kind):
    noise = random.Random(0).randbytes(3 * MIB + 17)
    text = b"".join(b"line %d\n" % number for number in range(400_000))
    data = {"text": text, "noise": noise, "both": noise + text}[kind]
    done = joined(compressed([data], "gzip", threads=1))
    assert done == joined(compressed([data], "gzip", threads=7))
    assert gzip.decompress(done) == data
    assert joined(decompressed([done], "gzip")) == data
    assert len(done) < len(zlib.compress(data, 6)) * 1.05


def test_nothing_of_the_machine_is_in_the_header():
    assert joined(compressed([b"x"], "gzip"))[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_several_members_are_read_as_one(compression):
    parts = [os.urandom(1000), b"", b"x" * (2 * MIB)]
    done = joined(joined(compressed([part], compression)) for part in parts)
    assert joined(decompressed([done], compression)) == joined(parts)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_content_without_end_is_read_in_little_memory(compression):
    bomb = joined(compressed((bytes(MIB) for _ in range(200)), compression))
    assert max(len(block) for block in decompressed([bomb], compression)) <= 33 * MIB
    assert sum(len(block) for block in decompressed([bomb], compression)) == 200 * MIB


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_damage_is_noticed(compression, damage):
    done = joined(compressed([os.urandom(5000)], compression))
    broken = {
        "cut": done[:-1],
        "flip": done[:100] + bytes([done[100] ^ 255]) + done[101:-1] + bytes([done[-1] ^ 255]),
        "empty": b"",
        "other": b"not compressed at all",
    }[damage]
    with pytest.raises(BrokenImageError, match=compression):
        joined(decompressed([broken], compression))


def test_what_another_tool_compressed_is_read():
    data = os.urandom(MIB) + bytes(MIB)
    for level in (1, 9):
        assert joined(decompressed([gzip.compress(data, level)], "gzip")) == data
    frame = zstandard.ZstdCompressor(level=19, write_checksum=True).compress(data)
    assert joined(decompressed([frame], "zstd")) == data
