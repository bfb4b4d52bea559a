"""Look for bytes that crash or hang a parser, guided by what they reach in it: scripts/fuzz NAME SECONDS.

A parser may read its bytes or refuse them with an error of ours; anything else is a find, as is an input
that takes more than ten seconds or 4 GiB. It is left in `.fuzz/NAME`, beside the inputs that a next look
begins with.
"""

from __future__ import annotations

import datetime
import io
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import atheris

with atheris.instrument_imports(include=["truss", "json", "csv", "numpy.lib"]):
    import json

    import numpy as np
    import pyarrow as pa

    from truss.config import Column, Signature, Tensor
    from truss.errors import TrussError
    from truss.runtime import codecs, tabular
    from truss.runtime.protocols import bodies, envelope, open_inference, open_inference_grpc

TABLE = Signature(columns=[Column(name="a"), Column(name="b", dtype="text")])
TENSORS = Signature(tensors=[Tensor(name="a"), Tensor(name="b")])


def binary(data: bytes) -> None:
    """The size of the JSON, then a body of the Open Inference Protocol with its tensors behind the JSON."""
    size = int.from_bytes(data[:2], "little")
    for signature in (None, TABLE, TENSORS):
        _, wanted = open_inference.decode(data[2:], size, signature)
        open_inference.encode({"y": np.zeros(1)}, wanted, "m")


def sealed(data: bytes) -> None:
    """What a worker gets of that protocol."""
    _, size, rest = envelope.unseal(data)
    open_inference.decode(rest, size, None)


def grpc(data: bytes) -> None:
    """A message of the protocol's gRPC service."""
    for signature in (None, TABLE, TENSORS):
        open_inference_grpc.decode(memoryview(data), ["y"], signature)


def npy_file() -> bytes:
    """A `.npy` file."""
    file = io.BytesIO()
    np.save(file, np.arange(6, dtype="<i2").reshape(2, 3))
    return file.getvalue()


def arrow_stream() -> bytes:
    """An Arrow stream."""
    sink = pa.BufferOutputStream()
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def with_tensors() -> bytes:
    """A request with two tensors behind its JSON."""
    described = [
        {"name": name, "shape": [2], "datatype": kind, "parameters": {"binary_data_size": 8}}
        for name, kind in (("a", "FP32"), ("b", "BYTES"))
    ]
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    return len(head).to_bytes(2, "little") + head + bytes(8) + b"\0\0\0\0" * 2


MOMENT = datetime.datetime(2024, 2, 29, 1, 2, 3)
MSGPACK = [
    codecs.encode_msgpack({"inputs": np.arange(3.0), "x": [1, "x", None, b"y"]}),
    codecs.encode_msgpack([MOMENT, MOMENT.date(), MOMENT.time(), MOMENT - MOMENT, Decimal(1), UUID(int=1)]),
    codecs.encode_msgpack(np.zeros((1, 2), [("a", "<i2"), ("b", "<f4", (2,))])),
]
MESSAGE = b"\x0a\x01m\x2a\x0c\x0a\x01a\x12\x04FP32\x1a\x01\x02\x3a\x08" + bytes(8)

PARSERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "json": (codecs.decode_json, [b'{"inputs": [[1, 2.5, "x", null, NaN]]}', b"{'inputs': [True]}"]),
    "msgpack": (codecs.decode_msgpack, MSGPACK),
    "binary": (binary, [with_tensors()]),
    "sealed": (sealed, [envelope.seal("m", len(with_tensors()) - 18) + with_tensors()[2:]]),
    "grpc": (grpc, [MESSAGE]),
    "npy": (lambda data: bodies.decode_npy(data, None), [npy_file()]),
    "arrow": (lambda data: bodies.decode_arrow(data, TABLE), [arrow_stream()]),
    "csv": (lambda data: tabular.decode_csv(data, TABLE), [b'a,b\r\n1,"x, ""y"""\n,\n']),
}


def main(name: str, seconds: int) -> None:
    """Look for so many seconds."""
    parse, seeds = PARSERS[name]
    folder = Path(".fuzz") / name
    corpus = folder / "inputs"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            parse(data)
        except TrussError:
            return

    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=4096", "-max_len=4096"]
    told = [f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *told, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
