"""A bare ASGI app: `echo` sends each body back, `model` decodes it, predicts, and encodes."""

import os
import sys

import msgspec
import uvicorn
from bench_models import load_model


def main():
    """Serve one of the two on the port given."""
    kind, port = sys.argv[1:]
    answer = (lambda body: body) if kind == "echo" else predicting(load_model(os.environ["BENCH_WORKLOAD"]))

    async def app(scope, receive, send):
        if scope["type"] != "http":
            return
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = answer(b"".join(parts))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    options = {"loop": "uvloop", "http": "httptools", "lifespan": "off", "access_log": False}
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", **options)


def predicting(predict):
    """From body to body by way of the model."""

    def answer(body):
        return msgspec.json.encode({"predictions": predict(msgspec.json.decode(body)["inputs"])})

    return answer


if __name__ == "__main__":
    main()
