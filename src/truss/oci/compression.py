"""Compressing layers: the same bytes for the same content, on all cores, in memory that does not grow.

The content is cut into pieces that are compressed independently of each other, each into a member of its own
of the gzip stream: readers take members one after another, as the format has it (RFC 1952, 2.2). So how many
threads did it cannot be seen in it. The bytes still depend on the version of libdeflate, which takes two
thirds of the time of zlib-ng for a little less: who looks for a layer that was built before should look for
its `diff_id`, which does not.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

from truss.errors import BrokenImageError, MissingExtraError

Compression = Literal["none", "gzip", "zstd"]

_PIECE = 1 << 20
_GZIP_LEVEL = 4  # of compiled code as small as zlib's level 5 makes it
_AS_IT_IS = 0
_SAMPLE = 1 << 16
_HARDLY_SMALLER = 0.98
_ZSTD_LEVEL = 3
_ZSTD_SLICE = 1 << 10


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
        import deflate  # noqa: F401
    except ImportError:
        raise MissingExtraError("deflate", "build", "compressing layers") from None
    pieces = _pieces(blocks)
    first = next(pieces, b"")  # nothing is one member, too
    yield from _in_order(_member, itertools.chain([first], pieces), threads)


def _member(piece: bytes) -> bytes:
    """One piece, compressed, or as it is where that is no gain: archives and random numbers.

    Its header says nothing of this machine: no name, no time, an unknown system.
    """
    import deflate

    sample = piece[:_SAMPLE]
    gains = len(deflate.deflate_compress(sample, 1)) < _HARDLY_SMALLER * len(sample)
    level = _GZIP_LEVEL if gains or len(piece) <= _SAMPLE else _AS_IT_IS
    return bytes(deflate.gzip_compress(piece, level))


def _pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same content in pieces of one size, so that how it came cannot be seen in what is written."""
    gathered: list[bytes] = []
    missing = _PIECE
    for block in blocks:
        rest = block
        while len(rest) >= missing:
            yield b"".join([*gathered, rest[:missing]])
            rest, gathered, missing = rest[missing:], [], _PIECE
        if rest:
            gathered.append(rest)
            missing -= len(rest)
    if gathered:
        yield b"".join(gathered)


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
