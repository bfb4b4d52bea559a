"""A small server of somebody else's, for tests: `python wrapped_server.py PORT`."""

import asyncio
import json
import os
import pathlib
import sys

import uvicorn


async def read(receive):
    """The pieces of a body."""
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def answer(send, body, kind=b"application/json", status=200):
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send, pieces, seconds):
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
    )
    for number in range(pieces):
        event = b"data: %d\n\n" % number
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(seconds)
    await send({"type": "http.response.body", "body": b""})


async def held(send):
    """Two events, the second when a file is there."""
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
    )
    await send({"type": "http.response.body", "body": b"data: 0\n\n", "more_body": True})
    while not pathlib.Path("release").exists():
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"data: 1\n\n"})


def numbered(size):
    """A body of which each part is different."""
    return b"".join(b"%08d" % number for number in range(-(-size // 8)))[:size]


async def broken(send, size):
    """Half of what is announced, then the connection ends."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": numbered(size // 2), "more_body": True})
    raise ConnectionAbortedError("as it was asked for")


async def endless(send):
    """More than any socket takes; says how much was taken in a file."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for taken in range(1, 1001):
        await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        pathlib.Path("taken").write_text(str(taken))
    await send({"type": "http.response.body", "body": b""})


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"]
    body = [piece async for piece in read(receive)]
    size = sum(map(len, body))
    if path == "/crash":
        print("out of luck", flush=True)  # noqa: T201  # what the test looks for
        os._exit(3)
    elif path == "/stream":
        await stream(send, 3, 0.01)
    elif path == "/held":
        await held(send)
    elif path == "/wait":
        pathlib.Path("waiting").touch()
        while not pathlib.Path("go").exists():
            await asyncio.sleep(0.01)
        await answer(send, b'"waited"')
    elif path == "/endless":
        await endless(send)
    elif path == "/hang":
        pathlib.Path("hanging").touch()
        message = await receive()
        pathlib.Path(message["type"]).touch()
    elif path == "/big":
        await answer(send, numbered(int(scope["query_string"])), b"text/plain")
    elif path == "/broken":
        await broken(send, int(scope["query_string"]))
    elif path == "/teapot":
        await answer(send, b"short and stout", b"text/plain", 418)
    else:
        said = {
            "path": path,
            "query": scope["query_string"].decode(),
            "method": scope["method"],
            "size": size,
            "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
            "folder": str(pathlib.Path.cwd()),
            "variable": os.environ.get("FROM_CONFIG"),
        }
        await answer(send, json.dumps(said).encode())


if __name__ == "__main__":
    print("here I come", flush=True)  # noqa: T201  # as above
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
