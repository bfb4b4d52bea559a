"""The HTTP protocol under the application: uvicorn's, with one write per answer in place of two.

uvicorn writes an answer's head when the application sends it, and the body when that follows: two
system calls, and with Nagle's algorithm off two packets, for what is commonly a few hundred bytes. They
were 40 % of the front's time. Here what is written within one turn of the event loop goes out together.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast


class GatheringTransport:
    """A transport that hands on what was written at the end of the event loop's turn, in one piece.

    Everything but writing and closing is the wrapped transport's own.
    """

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep the bytes for the end of this turn."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Write what was kept, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def gathering_protocol() -> type[asyncio.Protocol]:
    """Uvicorn's protocol (on httptools where that is installed, else h11) over gathering transports."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class GatheringProtocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # a choice made at run time
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            gathering = GatheringTransport(cast("asyncio.Transport", transport), asyncio.get_running_loop())
            super().connection_made(gathering)

    return cast("type[asyncio.Protocol]", GatheringProtocol)
