"""A small HTTP server, to be asked directly and through Truss: `python plain_server.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn

_EVENTS = 100
_DOWNLOAD = bytes(16 << 20)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Count a body; `/download` answers 16 MiB, `/stream` events in chunks."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(_EVENTS):
            event = b"data: token %d\n\n" % number
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    body = _DOWNLOAD if scope["path"] == "/download" else b'{"size": %d}' % size
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
