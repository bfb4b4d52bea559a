"""The frame codec: whatever is written is read back, however the stream is cut."""

import asyncio
import contextlib
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.errors import FrameError
from truss.runtime import frames
from truss.runtime.arena import Place
from truss.runtime.frames import Answer, Answers, FrameReader, Kind, Sent

u8, u16, u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
u64 = st.integers(0, 2**64 - 1)
bodies = st.binary(max_size=200)
codecs = st.integers(0, 127)
requests = st.lists(
    st.builds(Sent, u32, codecs, bodies | st.builds(Place, st.integers(0, 99), u64), bodies), max_size=8
)
answers = st.builds(
    Answers, st.lists(st.builds(Answer, u32, u16, u8, bodies), max_size=8), u32, u64, u64, u64
)


def joined(frame):
    return b"".join(bytes(part) for part in frame)


def payload_of(frame):
    return memoryview(joined(frame))[frames.HEADER_SIZE :]


def described(place):
    """In these tests, what lies in the arena is its own description."""
    return memoryview(repr(place).encode())


def decode_batch(payload):
    return frames.decode_batch(payload, described)


@given(requests)
def test_a_batch_is_read_back(batch):
    read = decode_batch(payload_of(frames.encode_batch(batch)))
    assert [(item.id, item.codec | item.delivery, bytes(item.body), item.context) for item in read] == [
        (one.id, one.codec, repr(one.body).encode() if isinstance(one.body, Place) else one.body, one.context)
        for one in batch
    ]


@given(answers)
def test_answers_are_read_back(sent):
    assert frames.decode_answers(payload_of(frames.encode_answers(sent))) == sent


@given(u32, u8, bodies)
def test_a_part_of_a_stream_is_read_back(id_, codec, body):
    assert frames.decode_chunk(payload_of(frames.encode_chunk(id_, codec, body))) == (id_, codec, body)


@given(u32, u32)
def test_credit_is_read_back(id_, size):
    assert frames.decode_credit(payload_of(frames.encode_credit(id_, size))) == (id_, size)


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
    for decode in (decode_batch, frames.decode_answers, frames.decode_cancel, FrameReader().feed):
        with contextlib.suppress(FrameError):
            decode(memoryview(noise))


@given(requests, st.data())
def test_a_truncated_batch_is_refused(batch, data):
    payload = payload_of(frames.encode_batch(batch))
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(FrameError):
        decode_batch(payload[:cut])


def test_a_count_beyond_the_payload_is_refused_before_anything_is_allocated():
    with pytest.raises(FrameError, match="at least"):
        decode_batch(memoryview(struct.pack("<I", 2**32 - 1)))


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


@given(st.lists(answers, min_size=1, max_size=4))
def test_merged_answers_are_all_there_with_their_cost(several):
    merged = frames.merge(several)
    assert list(merged.answers) == [answer for one in several for answer in one.answers]
    for cost in ("rows", "decode", "predict", "encode"):
        assert getattr(merged, cost) == sum(getattr(one, cost) for one in several)


@pytest.mark.parametrize("sizes", [[10] * 5, [3_000_000, 10, 10], [10, 3_000_000, 10, 2_000_000, 10]])
def test_frames_sent_at_once_arrive_whole_and_in_order(sizes):
    """Also those that the socket does not take at once, while the other side does not read."""
    ours, theirs = socket.socketpair()
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    received = []

    def read():
        with theirs:
            while (frame := frames.receive(theirs)) is not None:
                received.append(bytes(frame[1]))

    async def write():
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        for body in sent:
            frames.send_now(ours, transport, frames.encode(Kind.READY, body))
        reader.start()
        transport.close()  # once everything is written
        await asyncio.to_thread(reader.join)

    reader = threading.Thread(target=read)
    asyncio.run(write())
    assert received == sent
