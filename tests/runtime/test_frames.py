"""The frame codec: whatever is written is read back, however the stream is cut."""

import contextlib
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.errors import FrameError
from truss.runtime import frames
from truss.runtime.frames import Answer, Answers, FrameReader, Kind, Request

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
u64 = st.integers(0, 2**64 - 1)
bodies = st.binary(max_size=200)
requests = st.lists(st.builds(Request, u32, u8, bodies), max_size=8)
answers = st.builds(
    Answers, st.lists(st.builds(Answer, u32, u16, u8, bodies), max_size=8), u32, u64, u64, u64
)


def joined(frame):
    return b"".join(bytes(part) for part in frame)


def payload_of(frame):
    return memoryview(joined(frame))[frames.HEADER_SIZE :]


@given(requests)
def test_a_batch_is_read_back(batch):
    read = frames.decode_batch(payload_of(frames.encode_batch(batch)))
    assert [(item.id, item.codec, bytes(item.body)) for item in read] == [
        (item.id, item.codec, item.body) for item in batch
    ]


@given(answers)
def test_answers_are_read_back(sent):
    assert frames.decode_answers(payload_of(frames.encode_answers(sent))) == sent


@given(st.lists(u32, max_size=20))
def test_a_cancellation_is_read_back(ids):
    assert frames.decode_cancel(payload_of(frames.encode_cancel(ids))) == ids


@given(st.lists(st.tuples(st.sampled_from(Kind), bodies), max_size=6), st.lists(st.integers(1, 50)))
def test_a_stream_may_be_cut_anywhere(messages, cuts):
    stream = b"".join(joined(frames.encode(kind, body)) for kind, body in messages)
    reader, found, position = FrameReader(), [], 0
    for cut in [*cuts, len(stream) + 1]:
        found += reader.feed(stream[position : position + cut])
        position += cut
    assert [(kind, bytes(payload)) for kind, payload in found] == messages


@given(st.binary(max_size=100))
def test_noise_is_refused_or_waited_for_but_never_crashes(noise):
    for decode in (frames.decode_batch, frames.decode_answers, frames.decode_cancel, FrameReader().feed):
        with contextlib.suppress(FrameError):
            decode(memoryview(noise))


@given(requests, st.data())
def test_a_truncated_batch_is_refused(batch, data):
    payload = payload_of(frames.encode_batch(batch))
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(FrameError):
        frames.decode_batch(payload[:cut])


def test_a_count_beyond_the_payload_is_refused_before_anything_is_allocated():
    with pytest.raises(FrameError, match="at least"):
        frames.decode_batch(memoryview(struct.pack("<I", 2**32 - 1)))


def test_blocking_receive_reads_whole_frames_then_the_end():
    ours, theirs = socket.socketpair()
    body = bytes(range(256)) * 20_000  # more than the socket buffers hold
    writer = threading.Thread(
        target=lambda: (frames.send(ours, frames.encode(Kind.READY, body)), ours.close())
    )
    writer.start()
    with theirs:
        kind, payload = frames.receive(theirs)
        assert (kind, bytes(payload)) == (Kind.READY, body)
        assert frames.receive(theirs) is None
    writer.join()


def test_a_connection_closed_within_a_frame_is_an_error():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(joined(frames.encode(Kind.READY, b"12345"))[:-1])
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(FrameError, match="within a frame"):
            frames.receive(theirs)
