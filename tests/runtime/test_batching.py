"""The batching policy, as arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.runtime.batching import NO_HOLD, CostModel, hold_after, unjoined_burst

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


def test_a_lone_client_is_never_held():
    assert hold_after(returned=1, waiting=0, cost=fitted(0.02, 0.0, [1, 2])) == NO_HOLD


def test_clients_are_waited_for_at_most_a_tenth_of_the_fixed_cost():
    hold = hold_after(returned=1, waiting=63, cost=fitted(0.02, 0.0, [1, 63]))
    assert hold.expected == 64
    assert hold.seconds == pytest.approx(0.002)


def test_requests_that_cannot_be_joined_are_handed_over_in_small_bursts():
    assert unjoined_burst(fitted(0.0, 0.00001, [1, 2, 4]), limit=128) == pytest.approx(100, abs=1)
    assert unjoined_burst(fitted(0.0, 0.00001, [1, 2, 4]), limit=16) == 16
    assert unjoined_burst(fitted(0.0, 0.5, [1, 2, 4]), limit=128) == 1
    assert unjoined_burst(CostModel(), limit=128) == 1
