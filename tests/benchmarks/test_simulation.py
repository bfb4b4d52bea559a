"""The simulation of batching: outcomes that can be worked out by hand, and the server's own policy in it."""

import random
from dataclasses import dataclass

import pytest
from benchmarks.simulation.cases import POLICIES
from benchmarks.simulation.engine import Closed, Cost, Simulation
from benchmarks.simulation.hold import HoldingFor
from benchmarks.simulation.policies import Greedy, SizeOrTimeout, Truss
from hypothesis import given
from hypothesis import strategies as st

from truss.runtime import batching

FLAT = Cost("flat", fixed=0.020, per_row=0.0)
LINEAR = Cost("linear", fixed=0.0, per_row=0.002)


@dataclass(frozen=True)
class At:
    """Requests at these times; nobody comes back."""

    times: tuple[float, ...]

    def first(self, dice):
        return list(self.times)

    def after(self, dice, answered):
        return None


def simulated(arrivals, cost, policy, workers=1):
    """A run in which a batch takes exactly what the cost says."""
    return Simulation(arrivals, cost, policy, workers, seed=1, noise=0.0)


def run(arrivals, cost, policy, workers=1):
    """The latency of each answer and the size of each batch, in the order of their ends."""
    simulation = simulated(arrivals, cost, policy, workers)
    simulation.run()
    return [latency for _, latency in simulation.answers], [size for _, size in simulation.batches]


def test_what_gathers_while_a_worker_computes_is_the_next_batch():
    latencies, sizes = run(At((0.0, 0.005, 0.015, 0.1)), FLAT, Greedy())
    assert sizes == [1, 2, 1]
    assert latencies == pytest.approx([0.020, 0.035, 0.025, 0.020])


def test_a_size_or_a_timeout_is_waited_for():
    latencies, sizes = run(At((0.0, 0.001, 0.1)), FLAT, SizeOrTimeout(2, 0.005))
    assert sizes == [2, 1]
    assert latencies == pytest.approx([0.021, 0.020, 0.025])


def test_rows_that_cost_by_themselves_are_shared_by_idle_workers():
    """Greed gives all twelve to the first worker; ours shares once it has seen what rows cost."""
    burst = (1.0,) * 12
    _, sizes = run(At(burst), LINEAR, Greedy(), workers=4)
    assert sizes == [12]
    taught = batching.Policy(128)
    for rows in (1, 2, 4):
        taught.learn(rows, rows, LINEAR.of(rows))
    latencies, sizes = run(At(burst), LINEAR, Truss(4, taught), workers=4)
    assert sizes == [3, 3, 3, 3]
    assert latencies == pytest.approx([0.006] * 12)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_slow_requests_that_are_not_joined_are_spread_over_all_workers(workers):
    latencies, sizes = run(At((0.0,) * 8), FLAT, Truss(workers, batching.Policy(128, joins=False)), workers)
    assert sizes == [1] * 8
    assert max(latencies) == pytest.approx(0.020 * 8 / workers)


def test_a_lone_client_gets_what_the_model_gives():
    """50 a second less the pauses, by any policy that does not wait."""
    for policy in (Greedy(), Truss(1)):
        outcome = simulated(Closed(1, 1e-6, 10.0), FLAT, policy).run()
        assert outcome.p50 == pytest.approx(0.020)
        assert outcome.rate == pytest.approx(50, rel=0.01)


def test_the_hold_keeps_clients_together_that_greed_splits():
    """64 clients of a flat 20 ms: all in each batch is 3,200 a second, two halves in turn are 1,600."""
    closed = Closed(64, 0.0005, 10.0)
    greedy = simulated(closed, FLAT, Greedy()).run()
    ours = simulated(closed, FLAT, Truss(1)).run()
    assert greedy.rate == pytest.approx(1600, rel=0.02)
    assert greedy.batch == pytest.approx(32, rel=0.02)
    assert ours.rate == pytest.approx(3200 * 20 / 22.4, rel=0.05)
    assert ours.batch == pytest.approx(64, rel=0.02)


def test_a_share_of_none_is_greed():
    closed = Closed(64, 0.0005, 5.0)
    greedy = simulated(closed, FLAT, Greedy()).run()
    assert simulated(closed, FLAT, Truss(1, HoldingFor(0.0))).run() == greedy


@given(
    st.lists(st.floats(0, 0.2), min_size=1, max_size=60),
    st.sampled_from([FLAT, LINEAR, Cost("mixed", 0.005, 0.0005)]),
    st.sampled_from(sorted(POLICIES)),
    st.integers(1, 4),
)
def test_everyone_is_answered_once_and_no_sooner_than_the_model_can(times, cost, policy, workers):
    made = POLICIES[policy](workers)
    latencies, sizes = run(At(tuple(sorted(times))), cost, made, workers)
    assert len(latencies) == sum(sizes) == len(times)
    assert min(latencies) >= cost.of(1) - 1e-9


def test_the_policy_is_the_servers_own():
    """What the server decides in the same situation, the simulation does."""
    servers, its = batching.Policy(128), batching.Policy(128)
    truss = Truss(1, its)
    now = 0.0
    dice = random.Random(1)
    for _ in range(50):
        rows, waiting = dice.randrange(1, 64), dice.randrange(64)
        now += 0.02
        servers.learn(rows, rows, 0.02)
        servers.returned(rows, waiting)
        servers.answered(rows, now)
        truss.returned(now, rows, 0.02, 0.0, waiting)
        assert its.held == servers.held
        decided = truss.decide(now, [now] * max(waiting, 1), 1)
        held = servers.keeps_back(max(waiting, 1))
        assert decided.take == (0 if held else max(waiting, 1))
        assert decided.again == (pytest.approx(now + servers.held.seconds) if held else None)
        for policy in (servers, truss):
            policy.arrived(now + 0.001)
