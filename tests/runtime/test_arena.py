"""Places in the arena: what is handed out overlaps nothing, and all of it comes back."""

import mmap
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truss.errors import FrameError
from truss.runtime.arena import SMALLEST, Arena, ArenaReader, Place

ROOM = 64 * SMALLEST


@pytest.mark.parametrize("length", [SMALLEST, SMALLEST + 1, 3 * SMALLEST])
def test_a_worker_reads_what_the_front_wrote(length):
    arena = Arena(ROOM)
    arena.lease(SMALLEST)
    lease = arena.lease(length)
    content = bytes(position % 251 for position in range(length))
    lease.memory[:] = content
    assert len(lease) == len(lease.memory) == length
    assert ArenaReader(arena.fd).view(lease.place) == content


def test_small_bodies_get_no_place():
    assert Arena(ROOM).lease(SMALLEST - 1) is None


@settings(max_examples=200)
@given(st.lists(st.one_of(st.integers(SMALLEST, ROOM), st.integers(-8, -1)), max_size=60))
def test_places_never_overlap_and_all_come_back(steps):
    """A positive step asks for so many bytes, a negative one lets go of a place that is held."""
    arena, held = Arena(ROOM), []
    for step in steps:
        if step < 0:
            del held[step : step + 1 or None]
        else:
            lease = arena.lease(step)
            if lease is not None:
                held.append(lease)
        spans = sorted((lease.place.offset, lease.place.offset + len(lease)) for lease in held)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert all(end <= ROOM for _, end in spans)
    held.clear()
    lease = None
    assert arena.in_use == 0
    assert arena.lease(ROOM) is not None


def test_a_full_arena_has_no_place_until_one_comes_back():
    arena = Arena(ROOM)
    first, second = arena.lease(ROOM // 2), arena.lease(ROOM // 2)
    assert arena.lease(SMALLEST) is None
    del first
    assert arena.lease(ROOM // 2) is not None
    assert arena.lease(ROOM) is None
    assert len(second) == ROOM // 2


def test_the_lowest_places_are_taken_first():
    arena = Arena(ROOM)
    leases = [arena.lease(SMALLEST) for _ in range(4)]
    assert [lease.place.offset for lease in leases] == [0, SMALLEST, 2 * SMALLEST, 3 * SMALLEST]


@pytest.mark.skipif(not hasattr(mmap, "MADV_REMOVE"), reason="this system cannot take pages back")
def test_memory_of_a_burst_goes_back_to_the_system():
    arena = Arena(1 << 28)
    lease = arena.lease(1 << 27)
    lease.memory[:] = b"\1" * len(lease)
    del lease
    held = ArenaReader(arena.fd)
    assert held.view(Place((1 << 27) - 1, 1)) == b"\0"
    assert held.view(Place(0, 1)) == b"\1"


def test_a_place_outside_is_refused():
    with pytest.raises(FrameError, match="no place"):
        ArenaReader(Arena(ROOM).fd).view(Place(ROOM - 1, 2))
