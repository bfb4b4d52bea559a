"""The batching policy, as arithmetic."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from truss.runtime.batching import (
    NO_HOLD,
    CostModel,
    Policy,
    Returns,
    hold_after,
    level_share,
    unjoined_burst,
)

seconds = st.floats(1e-6, 1.0)


def fitted(fixed, per_row, sizes):
    cost = CostModel()
    for size in sizes:
        cost.observe(size, fixed + per_row * size)
    return cost


@given(
    seconds,
    seconds,
    st.lists(st.integers(1, 64), min_size=2, max_size=50).filter(lambda s: max(s) > 2 * min(s)),
)
def test_a_linear_cost_is_recovered(fixed, per_row, sizes):
    cost = fitted(fixed, per_row, sizes)
    assert cost.predict(10) == pytest.approx(fixed + 10 * per_row, rel=1e-3)
    assert cost.fixed == pytest.approx(fixed, rel=1e-2, abs=1e-3 * per_row * max(sizes))


@given(st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 100)), max_size=100))
def test_fitted_costs_are_never_negative(batches):
    cost = CostModel()
    for rows, duration in batches:
        cost.observe(rows, duration)
    assert cost.fixed >= 0
    assert cost.per_row >= 0


def test_one_batch_size_tells_no_slope_so_all_cost_is_fixed():
    cost = fitted(0.02, 0.0, [1] * 10)
    assert (cost.fixed, cost.per_row) == (pytest.approx(0.02), 0.0)


def test_a_change_in_cost_is_followed():
    cost = fitted(0.02, 0.0, [1, 32] * 100)
    for size in [1, 32] * 200:
        cost.observe(size, 0.002)
    assert cost.fixed == pytest.approx(0.002, rel=0.05)


FLAT = fitted(0.02, 0.0, [1, 63])


def watched(back, batches=60, workers=1, clients=64):
    """What is learned of clients that are back `back` seconds after an answer; a batch takes 20 ms."""
    returns = Returns()
    now = 0.0
    for _ in range(batches):
        now += 0.02 / workers
        returns.watch(clients, now, FLAT)
        for _ in range(clients):
            returns.arrived(now + back)
    return returns


def test_a_lone_client_is_never_held():
    assert hold_after(returned=1, waiting=0, most=128, cost=FLAT, returns=watched(0.001)) == NO_HOLD


def test_clients_that_do_not_come_back_are_waited_for_a_tenth_of_the_fixed_cost():
    for returns in (Returns(), watched(0.015)):
        hold = hold_after(returned=1, waiting=63, most=128, cost=FLAT, returns=returns)
        assert hold.expected == 64
        assert hold.seconds == pytest.approx(0.002)


def test_clients_that_do_are_waited_for_longer():
    hold = hold_after(returned=32, waiting=32, most=128, cost=FLAT, returns=watched(0.005))
    assert hold.expected == 64
    assert hold.seconds == pytest.approx(0.01)


def test_there_is_no_holding_for_more_than_a_batch_may_have():
    returns = watched(0.001)
    assert hold_after(returned=128, waiting=128, most=128, cost=FLAT, returns=returns) == NO_HOLD
    assert hold_after(returned=128, waiting=100, most=128, cost=FLAT, returns=returns).expected == 128
    assert hold_after(returned=4, waiting=0, most=1, cost=FLAT, returns=returns) == NO_HOLD


def test_soon_is_sooner_with_several_workers():
    """Requests of other workers' clients, which come all the time, are nobody's return."""
    assert hold_after(16, 0, 128, FLAT, watched(0.004, workers=4)).seconds == pytest.approx(0.002)
    assert hold_after(16, 0, 128, FLAT, watched(0.001, workers=4)).seconds == pytest.approx(0.0025)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 64)), min_size=30, max_size=200))
def test_what_is_waited_in_vain_is_a_tenth_on_average(traffic):
    """Whatever share of batches sees its clients come back."""
    returns, now = Returns(), 0.0
    for back, count in traffic:
        now += 0.04
        returns.watch(count, now, FLAT)
        for _ in range(count if back else 0):
            returns.arrived(now + 0.001)
    hold = hold_after(2, 2, 128, FLAT, returns)
    assert 0.002 - 1e-9 <= hold.seconds <= 0.01 + 1e-9
    assert hold.seconds * returns.missed <= 0.002 + 1e-9


def test_after_a_change_of_the_traffic_ten_batches_tell():
    returns = watched(0.001)
    for number in range(25):
        returns.watch(64, 100 + number * 0.04, FLAT)
    assert hold_after(32, 32, 128, FLAT, returns).seconds == pytest.approx(0.002, rel=0.15)


def test_requests_that_cannot_be_joined_are_handed_over_in_small_bursts():
    assert unjoined_burst(fitted(0.0, 0.00001, [1, 2, 4]), limit=128) == pytest.approx(100, abs=1)
    assert unjoined_burst(fitted(0.0, 0.00001, [1, 2, 4]), limit=16) == 16
    assert unjoined_burst(fitted(0.0, 0.5, [1, 2, 4]), limit=128) == 1
    assert unjoined_burst(CostModel(), limit=128) == 1


def policy(fixed, per_row, *, most=128, joins=True):
    """One that has seen what batches cost."""
    made = Policy(most, joins=joins)
    for rows in (1, 2, 4, 8):
        made.learn(rows, rows, fixed + per_row * rows)
    return made


def test_a_batch_is_all_that_waits_unless_its_rows_cost_and_others_idle():
    assert policy(0.02, 0.0).share(40, idle=4, workers=4) == 128
    assert policy(0.0, 0.002).share(40, idle=4, workers=4) == 10
    assert policy(0.0, 0.002).share(40, idle=1, workers=4) == 128
    assert policy(0.0, 0.002, most=8).share(40, idle=4, workers=4) == 8


def test_requests_of_many_rows_cost_as_many_rows():
    made = Policy(128)
    for rows in (10, 20, 40):
        made.learn(rows // 10, rows, 0.002 + 0.001 * rows)
    assert made.cost.per_row == pytest.approx(0.001)
    assert made.seconds_for(3) == pytest.approx(0.002 + 0.001 * 30)
    assert made.share(4, idle=2, workers=2) == 2


@given(st.integers(1, 200), st.integers(1, 8), st.integers(1, 8), st.floats(0, 0.1))
@example(waiting=2, idle=1, more=1, each=5e-324)
def test_requests_that_cannot_be_joined_are_never_bound_to_one_worker_beyond_its_share(
    waiting, idle, more, each
):
    workers = idle + more
    share = policy(0.0, each, joins=False).share(waiting, idle, workers)
    assert 1 <= share <= -(-waiting // workers)
    assert share == 1 or share * each <= 0.001 + 1e-9


@given(st.integers(1, 300), st.lists(st.integers(0, 64), min_size=1, max_size=8))
def test_requests_of_an_async_model_leave_all_its_workers_equally_busy(waiting, loads):
    """As far as that is possible: nobody is given more who then has more than another by two."""
    before, after = max(loads), sorted(loads)
    while waiting:
        after.sort()
        share = level_share(waiting, after)
        assert 1 <= share <= waiting
        after[0] += share
        waiting -= share
    assert max(after) - min(after) <= 1 or max(after) == before


def test_a_hold_too_short_for_a_clock_is_none():
    held, short = policy(0.02, 0.0), policy(0.002, 0.0)
    for one in (held, short):
        one.returned(answered=32, waiting=32)
    assert held.keeps_back(63)
    assert not held.keeps_back(64)
    assert not short.keeps_back(33)
    held.release()
    assert not held.keeps_back(63)


def test_nothing_is_held_where_nothing_is_joined():
    unjoined = policy(0.02, 0.0, joins=False)
    unjoined.returned(answered=1, waiting=63)
    assert not unjoined.keeps_back(63)
