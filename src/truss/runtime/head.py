"""How long the head of a request may be: its first line and its headers.

The parser has no limit of its own, and what has come is kept until the head is complete.
"""

from __future__ import annotations

from truss.errors import HeadTooLargeError

MOST = 1 << 16
"""Bytes; as much as servers on h11 take, and more than a browser ever sends."""

COMPLETE = -1
"""The size of a head that is complete, or has not begun: of nothing that still has to be counted."""


def grown(size: int, more: int) -> int:
    """The size of an incomplete head after so many bytes more.

    Raises:
        HeadTooLargeError: it is over the limit. One that comes whole in one piece is never asked about.
    """
    if size + more > MOST:
        raise HeadTooLargeError(
            f"the request's first line and headers have {size + more} bytes or more; the limit is {MOST}",
            hint="send what is large in the body",
        )
    return size + more
