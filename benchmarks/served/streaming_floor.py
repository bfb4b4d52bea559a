"""The same lines from a bare ASGI application: `python streaming_floor.py PORT`."""

import json
import sys
from typing import Any

import uvicorn
from streaming_model import Model


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer every POST with the model's lines, one chunk a line."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for line in Model().predict(json.loads(body)):
        await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
    await send({"type": "http.response.body"})


if __name__ == "__main__":
    uvicorn.run(application, port=int(sys.argv[1]), log_level="warning", lifespan="off")
