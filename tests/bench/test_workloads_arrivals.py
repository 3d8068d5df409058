from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_bench.workloads.arrivals import (
    WINDOW_SECONDS,
    Arrival,
    Client,
    ClientWindow,
    Family,
    OnOff,
    burstgpt,
    gamma,
    merge_clients,
    on_off,
    poisson,
    replay,
)
from alise_bench.workloads.recorded import gap_cv
from alise_core.errors import ConfigError

RECORD = [Arrival(float(mark), prefix_group=str(mark % 3)) for mark in (0, 1, 1, 4, 9, 16)]
CLIENTS = [
    Client(
        "large",
        {
            0.0: ClientWindow(9.0, Family.GAMMA, 0.5),
            WINDOW_SECONDS: ClientWindow(8.0, Family.GAMMA, 1.0),
        },
    ),
    Client("small", {0.0: ClientWindow(1.0, Family.WEIBULL, 0.6)}),
]

Process = Callable[[int, float, int], list[Arrival]]
PROCESSES: dict[str, Process] = {
    "poisson": poisson,
    "gamma": lambda count, rate, seed: gamma(count, rate, 3.0, seed),
    "burstgpt": burstgpt,
    "on-off": on_off,
    "replay": lambda count, rate, seed: replay(RECORD, count, rate, seed),
    "clients": lambda count, rate, seed: merge_clients(CLIENTS, count, rate, seed),
}


@pytest.mark.parametrize("name", PROCESSES)
@given(st.integers(5, 60), st.floats(0.5, 40), st.integers(0, 99))
def test_arrivals_ascend_at_the_rate_and_the_seed_decides_them(
    name: str, count: int, rate: float, seed: int
) -> None:
    marks = PROCESSES[name](count, rate, seed)
    offsets = [mark.offset_s for mark in marks]
    assert len(offsets) == count
    assert offsets[0] == 0
    assert all(early <= late for early, late in pairwise(offsets))
    assert offsets[-1] == pytest.approx((count - 1) / rate)
    assert marks == PROCESSES[name](count, rate, seed)


@pytest.mark.parametrize("name", ["poisson", "gamma", "burstgpt", "on-off", "clients"])
def test_another_seed_gives_other_arrivals(name: str) -> None:
    assert PROCESSES[name](50, 2.0, 1) != PROCESSES[name](50, 2.0, 2)


@pytest.mark.parametrize(("name", "cv"), [("poisson", 1.0), ("gamma", 3.0), ("burstgpt", 2**0.5)])
def test_gaps_have_their_cv(name: str, cv: float) -> None:
    assert gap_cv(PROCESSES[name](8_000, 7.0, 3)) == pytest.approx(cv, rel=0.1)


def test_on_off_has_bursts_and_quiet_times() -> None:
    shape = OnOff(burst_ratio=10, burst_share=0.1, cycle_seconds=20)
    marks = on_off(20_000, 10.0, 1, shape)
    a_second = Counter(int(mark.offset_s) for mark in marks)
    rates = sorted(a_second.get(second, 0) for second in range(2_000))
    assert shape.quiet_rate(10.0) == pytest.approx(10 / 1.9)
    assert rates[1_000] == pytest.approx(10 / 1.9, abs=2)
    assert rates[1_900] > 25
    assert gap_cv(marks) > 1.2


def test_replay_keeps_the_pattern_and_begins_anew_at_the_end() -> None:
    once = replay(RECORD, 6, 5 / 16, 0)
    assert [mark.offset_s for mark in once] == pytest.approx([0, 1, 1, 4, 9, 16])
    twice = replay(RECORD, 12, 1.0, 0)
    gaps = [late.offset_s - early.offset_s for early, late in pairwise(twice)]
    assert gaps[:5] == pytest.approx(gaps[6:])
    assert gaps[5] == pytest.approx(sum(gaps[:5]) / 5)
    assert [mark.prefix_group for mark in twice[:6]] == [mark.prefix_group for mark in RECORD]


def test_replay_takes_consecutive_arrivals_from_anywhere() -> None:
    groups = {tuple(mark.prefix_group for mark in replay(RECORD, 4, 1.0, s)) for s in range(20)}
    assert groups == {tuple(m.prefix_group for m in RECORD[i : i + 4]) for i in range(3)}


@pytest.mark.slow
def test_clients_send_their_shares() -> None:
    marks = merge_clients(CLIENTS, 4_000, 10.0, 2)
    counts = Counter(mark.tenant for mark in marks)
    assert counts["large"] > 0.8 * len(marks)
    even = [
        Client("a", {0.0: ClientWindow(3.0, Family.WEIBULL, 0.6)}),
        Client("b", {0.0: ClientWindow(3.0, Family.GAMMA, 0.6)}),
    ]
    senders = Counter(mark.tenant for mark in merge_clients(even, 4_000, 10.0, 2))
    assert senders["a"] == pytest.approx(2_000, rel=0.1)
    alone = even[:1]
    # A Weibull distribution of shape 0.6 has a CV of 1.76.
    assert gap_cv(merge_clients(alone, 20_000, 50.0, 2)) == pytest.approx(1.76, rel=0.1)


def test_what_cannot_be_is_refused() -> None:
    for name, process in PROCESSES.items():
        with pytest.raises(ValueError, match="positive"):
            process(0, 1.0, 0)
        with pytest.raises(ValueError, match="positive"):
            process(1, 0.0, 0)
        assert [mark.offset_s for mark in process(1, 1.0, 0)] == [0.0], name
    with pytest.raises(ValueError, match="positive"):
        gamma(2, 1.0, 0.0, 0)
    with pytest.raises(ValueError, match="burst_share"):
        on_off(2, 1.0, 0, OnOff(burst_share=1.0))
    with pytest.raises(ConfigError, match="all at one moment"):
        replay([Arrival(1.0), Arrival(1.0)], 2, 1.0, 0)
    with pytest.raises(ConfigError, match="no client"):
        merge_clients([Client("a", {})], 2, 1.0, 0)
