"""Compressing layers: the same bytes for the same content, on all cores, in memory that does not grow.

The gzip stream is cut into pieces that are compressed independently of each other and joined into one
member, so how many threads did it cannot be seen in it. Its bytes still depend on the version of zlib-ng,
which compresses half as fast again as zlib does and to a little less: who looks for a layer that was built
before should look for its `diff_id`, which does not.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from truss.errors import BrokenImageError, MissingExtraError

Compression = Literal["none", "gzip", "zstd"]

_PIECE = 1 << 20
_GZIP_LEVEL = 5  # of compiled code as small as zlib's level 5 makes it, in half of its time
_SAMPLE = 1 << 16
_HARDLY_SMALLER = 0.98
_ZSTD_LEVEL = 3
_ZSTD_SLICE = 1 << 10
# Magic, deflate, no flags, no time, no hint of the level, an unknown system: nothing of this machine.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_GZIP_LAST_PIECE = b"\x03\x00"  # an empty block that says it is the last


def compressed(
    blocks: Iterable[bytes], compression: Compression, *, threads: int | None = None
) -> Iterator[bytes]:
    """`blocks` as one compressed stream.

    Args:
        blocks: The content.
        compression: How; `none` passes the content through.
        threads: How many pieces are compressed at a time; one for each core when `None`.

    Raises:
        MissingExtraError: the package that compresses so is not installed.
    """
    if compression == "none":
        return iter(blocks)
    if compression == "zstd":
        return _zstd(blocks)
    return _gzip(blocks, threads or os.cpu_count() or 1)


def decompressed(blocks: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """The content of a compressed stream of any maker: many members, or frames, are read as one.

    Raises:
        BrokenImageError: The stream is damaged or cut short.
        MissingExtraError: `zstd` is asked for and its package is not installed.
    """
    if compression == "none":
        return iter(blocks)
    if compression == "zstd":
        return _unzstd(blocks)
    return _gunzip(blocks)


def _gzip(blocks: Iterable[bytes], threads: int) -> Iterator[bytes]:
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        raise MissingExtraError("zlib-ng", "build", "compressing layers") from None
    checksum, size = 0, 0

    def summed() -> Iterator[bytes]:
        nonlocal checksum, size
        for piece in _pieces(blocks):
            checksum = zlib_ng.crc32(piece, checksum)
            size += len(piece)
            yield piece

    yield _GZIP_HEADER
    yield from _in_order(_deflated, summed(), threads)
    yield _GZIP_LAST_PIECE + struct.pack("<II", checksum, size & 0xFFFFFFFF)


def _deflated(piece: bytes) -> bytes:
    """One piece, compressed, or as it is where that is no gain: archives and random numbers."""
    from zlib_ng import zlib_ng

    sample = piece[:_SAMPLE]
    gains = len(zlib_ng.compress(sample, 1)) < _HARDLY_SMALLER * len(sample)
    level = _GZIP_LEVEL if gains or len(piece) <= _SAMPLE else zlib_ng.Z_NO_COMPRESSION
    stream = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -zlib_ng.MAX_WBITS)
    return stream.compress(piece) + stream.flush(zlib_ng.Z_SYNC_FLUSH)


def _pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same content in pieces of one size, so that how it came cannot be seen in what is written."""
    piece = bytearray()
    for block in blocks:
        piece += block
        while len(piece) >= _PIECE:
            yield bytes(piece[:_PIECE])
            del piece[:_PIECE]
    if piece:
        yield bytes(piece)


def _in_order(work: Callable[[bytes], bytes], pieces: Iterator[bytes], threads: int) -> Iterator[bytes]:
    """`work` on every piece, some at a time, the results in the order of the pieces."""
    with ThreadPoolExecutor(threads, thread_name_prefix="truss-compress") as pool:
        waiting: deque[Future[bytes]] = deque()
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _gunzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    begun = False
    try:
        for block in blocks:
            rest = block
            while rest:
                if stream.eof:
                    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
                content = stream.decompress(rest, _PIECE)
                begun = True
                rest = stream.unused_data if stream.eof else stream.unconsumed_tail
                if content:
                    yield content
            while not stream.eof and (content := stream.decompress(b"", _PIECE)):
                yield content
    except zlib.error as error:
        raise BrokenImageError(f"the gzip stream is damaged: {error}") from error
    if not begun or not stream.eof:
        raise BrokenImageError("the gzip stream is cut short")


def _zstd(blocks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("zstandard", "build", "compressing with zstd") from None
    # One thread outruns most disks.
    stream = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
    for piece in _pieces(blocks):
        if done := stream.compress(piece):
            yield done
    yield stream.flush()


def _slices(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks in slices so small that even zeros without end, unpacked, stay below 32 MiB at a time."""
    for block in blocks:
        for at in range(0, len(block), _ZSTD_SLICE):
            yield block[at : at + _ZSTD_SLICE]


def _unzstd(blocks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError(
            "zstandard", "build", "reading a layer that is compressed with zstd"
        ) from None
    reader = zstandard.ZstdDecompressor()
    stream = reader.decompressobj()
    try:
        for rest in _slices(blocks):
            while rest:
                if stream.eof:
                    stream = reader.decompressobj()
                if content := stream.decompress(rest):
                    yield content
                rest = stream.unused_data if stream.eof else b""
    except zstandard.ZstdError as error:
        raise BrokenImageError(f"the zstd stream is damaged: {error}") from error
    if not stream.eof:
        raise BrokenImageError("the zstd stream is cut short")
