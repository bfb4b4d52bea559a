"""The queue: what is taken together, and what is not."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.errors import NotReadyError
from truss.runtime.jobs import Job, JobQueue


@dataclass
class Client:
    """Who asked, and what became of it."""

    disconnected: bool = False
    error: str = ""

    def failed(self, error):
        self.error = error.type

    def answered(self, answer):
        raise AssertionError("nothing answers here")


def job(number, size=1, kills=0, *, left=False):
    return Job(number, 0, bytes(size), Client(disconnected=left), 0.0, kills=kills)


def queue_of(jobs):
    queue = JobQueue()
    for one in jobs:
        queue.append(one)
    return queue


def taken(queue, most, max_bytes):
    """All batches that come of a queue, by the ids of their requests."""
    batches = []
    while batch := queue.take(most, max_bytes):
        batches.append([one.id for one in batch])
    return batches


@given(
    sizes=st.lists(st.integers(0, 40), max_size=30),
    most=st.integers(1, 8),
    max_bytes=st.integers(1, 60),
)
def test_batches_keep_the_order_and_both_limits(sizes, most, max_bytes):
    batches = taken(queue_of(job(number, size) for number, size in enumerate(sizes)), most, max_bytes)
    assert [number for batch in batches for number in batch] == list(range(len(sizes)))
    assert all(len(batch) <= most for batch in batches)
    assert all(len(batch) == 1 or sum(sizes[number] for number in batch) <= max_bytes for batch in batches)
    # And none is smaller than it has to be.
    for batch, following in pairwise(batches):
        more = sum(sizes[number] for number in batch) + sizes[following[0]]
        assert len(batch) == most or more > max_bytes


def test_what_may_have_killed_a_worker_runs_alone():
    queue = queue_of([job(0), job(1, kills=1), job(2, kills=1), job(3), job(4)])
    assert taken(queue, 8, 100) == [[0], [1], [2], [3, 4]]


@given(left=st.lists(st.booleans(), max_size=20), most=st.integers(1, 5))
def test_clients_that_have_left_are_dropped_on_the_way(left, most):
    jobs = [job(number, left=gone) for number, gone in enumerate(left)]
    batches = taken(queue_of(jobs), most, 100)
    assert [number for batch in batches for number in batch] == [n for n, gone in enumerate(left) if not gone]
    assert [one.caller.error for one in jobs] == ["client_closed_request" if gone else "" for gone in left]


def test_what_is_settled_while_it_waits_counts_no_more():
    jobs = [job(number) for number in range(3)]
    queue = queue_of(jobs)
    queue.drop(jobs[1], NotReadyError("stopping"))
    queue.drop(jobs[1], NotReadyError("stopping"))
    assert len(queue) == 2
    assert [one.id for one in queue] == [0, 2]
    assert taken(queue, 8, 100) == [[0, 2]]
    assert len(queue) == 0


@pytest.mark.parametrize("number", [0, 2])
def test_what_is_put_back_is_the_next(number):
    queue = queue_of([job(5), job(6)])
    queue.put_back(job(number, kills=1))
    assert taken(queue, 8, 100) == [[number], [5, 6]]
