"""Look for bytes that crash or hang a parser, guided by what they reach in it: scripts/fuzz NAME SECONDS.

A parser may read its bytes or refuse them with an error of ours; anything else is a find, as is an input
that takes more than ten seconds or 4 GiB. It is left in `.fuzz/NAME`, beside the inputs that a next look
begins with.
"""

from __future__ import annotations

import datetime
import functools
import io
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import atheris

with atheris.instrument_imports(include=["truss", "json", "csv", "numpy.lib", "PIL"]):
    import json

    import numpy as np
    import pyarrow as pa
    from PIL import Image
    from pyarrow import parquet

    from truss.config import Column, Signature, Tensor
    from truss.errors import TrussError
    from truss.model.steps import INPUT_NAMES
    from truss.runtime import codecs, frames, joining, lambda_events, tabular
    from truss.runtime.frames import Codec, Kind
    from truss.runtime.predictions import Request
    from truss.runtime.protocols import bodies, envelope, open_inference, open_inference_grpc
    from truss.runtime.protocols.routes import ProtocolRequest

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


def frame(data: bytes) -> None:
    """What a front and a worker say to each other, in pieces: they may be cut anywhere."""
    cut = data[0] if data else 0
    reader = frames.FrameReader()
    found = [*reader.feed(data[1:cut]), *reader.feed(data[max(1, cut) :])]
    assert found == frames.FrameReader().feed(data[1:])
    for kind, payload in found:
        read, write = FRAMES.get(kind, (bytes, functools.partial(frames.encode, kind)))
        value = read(payload)
        assert b"".join(write(value)) == bytes(frames.encode(kind)[0][4:5]).join(
            [len(payload).to_bytes(4, "little"), bytes(payload)]
        )


def batch(payload: memoryview) -> list[frames.Sent]:
    """The requests of a batch, as the front would send them; none is in the arena."""
    requests = frames.decode_batch(payload, lambda place: memoryview(b"%d" % place.offset))
    codecs_sent = [one.codec | one.delivery for one in requests]
    sent = zip(codecs_sent, requests, strict=True)
    return [frames.Sent(one.id, codec, one.body, one.context) for codec, one in sent]


FRAMES: dict[int, tuple[Callable[..., Any], Callable[..., Any]]] = {
    Kind.ANSWERS: (frames.decode_answers, frames.encode_answers),
    Kind.CANCEL: (frames.decode_cancel, frames.encode_cancel),
    Kind.CHUNK: (frames.decode_chunk, lambda chunk: frames.encode_chunk(*chunk)),
    Kind.CREDIT: (frames.decode_credit, lambda credit: frames.encode_credit(*credit)),
}


def batches(data: bytes) -> None:
    """A batch, read and written again; what is in the arena reads as something else, and is left out."""
    requests = batch(memoryview(data))
    again = frames.encode_batch(requests)
    assert [one.body for one in batch(memoryview(b"".join(again[1:])))] == [one.body for one in requests]


def joined(data: bytes) -> None:
    """Requests in JSON, one a line: joined, echoed and split again, each gets its own rows."""
    requests = [codecs.decode_json(line) for line in data.split(b"\n")]
    groups = joining.join(requests, 16)
    assert sorted(place for group in groups for place in group.members) == list(range(len(requests)))
    for group in groups:
        if group.counts:
            name = next(name for name in group.request if name in INPUT_NAMES)
            answers = joining.split({"predictions": group.request[name]}, group.counts)
            assert answers is not None
            for place, answer in zip(group.members, answers, strict=True):
                assert repr(answer["predictions"]) == repr(requests[place][name])
        elif len(group.members) == 1:
            joining.split(group.request, [1, 1])


def head(data: bytes) -> None:
    """The headers of a request, one a line: among them those that say that a body is of several parts."""
    headers = [
        (name.lower(), value) for name, _, value in (line.partition(b":") for line in data.split(b"\n"))
    ]
    for make in (Request, lambda id_: ProtocolRequest(id_, Codec.OPEN_INFERENCE)):
        request = make(b"1")
        try:
            request.read(headers)
        finally:
            request.facts()


def event(data: bytes) -> None:
    """An event of AWS Lambda, which makes them itself: JSON, of whatever shape."""
    try:
        asked = lambda_events.asked_by(data)
    except ValueError:  # which Lambda is told
        return
    lambda_events.answer_of(asked, lambda_events.Answered(200, (("a", "b"),), b"{}"))


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


def parquet_file() -> bytes:
    """A Parquet file."""
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), sink)
    return sink.getvalue().to_pybytes()


def image_files() -> list[bytes]:
    """A small image in each format."""
    files = []
    for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        file = io.BytesIO()
        Image.new("RGB", (3, 2), (1, 2, 3)).save(file, name)
        files.append(file.getvalue())
    return files


def frame_bytes() -> list[bytes]:
    """A frame of each kind, the place of the cut before it."""
    answers = frames.Answers([frames.Answer(1, 200, 0, b"{}"), frames.Answer(2, 400, 2, b"")], 2, 3, 4, 5)
    made = [
        frames.encode_answers(answers),
        frames.encode_cancel([1, 2]),
        frames.encode_chunk(1, 14, b"x"),
        frames.encode_credit(1, 2),
        frames.encode(Kind.READY, b"{}"),
    ]
    return [b"\x07" + b"".join(one) for one in made] + [b"\x20" + b"".join(b"".join(one) for one in made)]


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
BATCH = frames.encode_batch([frames.Sent(1, 0, b"{}", b"c"), frames.Sent(2, 0x41, b"\x80")])
HEADERS = [
    b"content-type: multipart/form-data; boundary=x\ncontent-length: 7",
    b"content-type:text/csv;charset=utf-8\naccept:text/event-stream, */*;q=0.1\nx-request-timeout:2.5",
    b"inference-header-content-length:12\ncontent-length:99\nx-request-id:a",
]
ROWS = [b'{"inputs": [1]}\n{"inputs": [2, 3]}\n{"instances": [[4]], "top": 3}', b'{"inputs": []}\n[1]\n{}']
EVENTS = [
    b'{"Records": [{}]}',
    b'{"rawPath": "/", "requestContext": {"http": {"method": "POST"}}, "headers": {"a": "b"}, "body": "{}"}',
    b'{"path": "/", "httpMethod": "GET", "requestContext": {"elb": {}}, "multiValueHeaders": {"a": ["b"]}}',
    b'{"path": "/", "httpMethod": "GET", "requestContext": {}, "queryStringParameters": {"a": "\\u00fc"}}',
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
    "parquet": (lambda data: tabular.decode_parquet(data, TABLE), [parquet_file()]),
    "image": (lambda data: bodies.decode_image(data, TENSORS), image_files()),
    "frame": (frame, frame_bytes()),
    "batch": (batches, [b"".join(BATCH[1:])]),
    "joined": (joined, ROWS),
    "head": (head, HEADERS),
    "event": (event, EVENTS),
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
