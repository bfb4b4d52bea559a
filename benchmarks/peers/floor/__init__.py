"""The floor: the least that any Python server does, under uvicorn with its compiled parts."""

from pathlib import Path

from benchmarks.contender import Contender, Exchange, Launch, compact, label, listed
from benchmarks.tensors import raw

_SERVER = Path(__file__).with_name("server.py")


def _command(kind: str):
    def command(launch: Launch) -> tuple[object, ...]:
        return (launch.python, _SERVER, kind, launch.port)

    return command


def _echoed(
    encode=lambda item: compact({"inputs": [item]}), content_type: str = "application/json"
) -> Exchange:
    """The body comes back as it is, so there is no answer to check."""
    return Exchange("/", encode, bytes, content_type, checked=False)


_ROWS = listed("/")
CONTENDERS = (
    Contender(
        name="floor",
        title="bare ASGI echo",
        exchanges={"echo": listed("/", answered="inputs"), "logreg": _echoed(), "tensor": _echoed()}
        | {"tensor-binary": _echoed(raw, "application/octet-stream")},
        command=_command("echo"),
        settings="uvicorn, httptools, uvloop; reads the body and sends it back",
        package="uvicorn",
        reference=True,
    ),
    Contender(
        name="in-process",
        title="the same predict behind bare ASGI",
        exchanges={
            "logreg": listed("/", pick=label),
            "embed": _ROWS,
            "tensor": _ROWS,
            "sleep": _ROWS,
        },
        command=_command("model"),
        settings="uvicorn, httptools, uvloop, msgspec; predict runs in the event loop, no queue, no checks",
        package="uvicorn",
        reference=True,
    ),
)
