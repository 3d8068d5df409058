"""When requests arrive: pure, and the same for the same seed.

Every process gives ``count`` ascending arrivals, the first at 0 and the last at
``(count - 1) / rate`` seconds, so that two processes with the same rate bring the same load and
differ in their bursts only. Stretching to that length leaves the CV (coefficient of variation) of
the gaps as it is.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

from alise_core.errors import ConfigError

BURSTGPT_SHAPE = 0.5
"""Shape of the Gamma-distributed gaps of BurstGPT's modelled arrivals, which is a CV of 1.41.
Source: HPMLL/BurstGPT, ``gamma_shape`` in example/src/burstgpt/config.py; the distribution:
arXiv:2401.17644, section on burstiness."""

WINDOW_SECONDS = 600.0
"""Length of ServeGen's windows. Source: alibaba/ServeGen, data/*/*/chunk-*-trace.csv."""


class Family(StrEnum):
    """What the gaps of a client are distributed like, in ServeGen's spelling."""

    GAMMA = "Gamma"
    WEIBULL = "Weibull"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One arrival.

    Attributes:
        offset_s: Seconds after the first one.
        tenant: Who sends, where that is recorded.
        prefix_group: Whose first block of prompt tokens is the same, where that is recorded.
    """

    offset_s: float
    tenant: str | None = None
    prefix_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnOff:
    """Two states that follow each other, each for an exponentially distributed time (MMPP-2).

    Attributes:
        burst_ratio: How many times as many requests arrive a second in a burst as outside.
        burst_share: Part of the time that is bursts, between 0 and 1.
        cycle_seconds: Mean time from one burst's begin to the next one's.
    """

    burst_ratio: float = 8.0
    burst_share: float = 0.2
    cycle_seconds: float = 30.0

    def quiet_rate(self, rate: float) -> float:
        """Requests a second outside bursts, for a mean rate."""
        return rate / (1 - self.burst_share + self.burst_share * self.burst_ratio)


@dataclass(frozen=True, slots=True)
class ClientWindow:
    """What one client did in one window.

    Attributes:
        rate: Requests a second, more than 0.
        family: Distribution of the gaps.
        shape: Its shape parameter: below 1 is burstier than Poisson.
    """

    rate: float
    family: Family
    shape: float


@dataclass(frozen=True, slots=True)
class Client:
    """One client of a recorded service.

    Attributes:
        name: The tenant's name.
        windows: By window start in seconds; windows without requests are left out.
    """

    name: str
    windows: dict[float, ClientWindow]


def poisson(count: int, rate: float, seed: int) -> list[Arrival]:
    """Independent arrivals: exponentially distributed gaps, CV 1."""
    return gamma(count, rate, 1.0, seed)


def gamma(count: int, rate: float, cv: float, seed: int) -> list[Arrival]:
    """Gamma-distributed gaps.

    Args:
        count: Arrivals, at least 1.
        rate: Mean arrivals a second, more than 0.
        cv: Coefficient of variation of the gaps, more than 0: 1 is Poisson, more is burstier.
        seed: Of the gaps.
    """
    if cv <= 0:
        raise ValueError("cv must be positive")
    generator = random.Random(seed)  # noqa: S311
    shape = 1 / cv**2
    return _accumulate(lambda: generator.gammavariate(shape, 1.0), count, rate)


def burstgpt(count: int, rate: float, seed: int) -> list[Arrival]:
    """Arrivals as BurstGPT models them."""
    return gamma(count, rate, BURSTGPT_SHAPE**-0.5, seed)


def on_off(count: int, rate: float, seed: int, shape: OnOff | None = None) -> list[Arrival]:
    """Bursts of Poisson arrivals between quieter times (a Markov-modulated Poisson process)."""
    _check(count, rate)
    shape = shape or OnOff()
    if not (0 < shape.burst_share < 1 and shape.burst_ratio >= 1 and shape.cycle_seconds > 0):
        raise ValueError("0 < burst_share < 1, burst_ratio >= 1 and cycle_seconds > 0 must hold")
    generator = random.Random(seed)  # noqa: S311
    quiet = shape.quiet_rate(rate)
    rates = {True: quiet * shape.burst_ratio, False: quiet}
    stays = {
        True: shape.cycle_seconds * shape.burst_share,
        False: shape.cycle_seconds * (1 - shape.burst_share),
    }
    bursting = generator.random() < shape.burst_share
    now, until = 0.0, generator.expovariate(1 / stays[bursting])
    marks: list[float] = []
    while len(marks) < count:
        now += generator.expovariate(rates[bursting])
        if now < until:
            marks.append(now)
            continue
        # An exponential gap has no memory, so the rest of it is drawn anew in the new state.
        now, bursting = until, not bursting
        until += generator.expovariate(1 / stays[bursting])
    return _stretch([Arrival(mark) for mark in marks], rate)


def replay(recorded: Sequence[Arrival], count: int, rate: float, seed: int) -> list[Arrival]:
    """Consecutive recorded arrivals, sped up or slowed down to a rate.

    Args:
        recorded: Ascending; begins anew, a mean gap after its end, when more are wanted.
        count: Arrivals, at least 1.
        rate: Mean arrivals a second, more than 0.
        seed: Of the place in the record that they begin at.

    Raises:
        ConfigError: The record has fewer than two moments.
    """
    _check(count, rate)
    if len(recorded) < 2 or recorded[-1].offset_s <= recorded[0].offset_s:  # noqa: PLR2004
        raise ConfigError("the recorded arrivals are all at one moment; take another record")
    spare = len(recorded) - count
    first = random.Random(seed).randrange(spare + 1) if spare > 0 else 0  # noqa: S311
    span = recorded[-1].offset_s - recorded[0].offset_s
    lap = span + span / (len(recorded) - 1)
    taken = []
    for position in range(first, first + count):
        turn, index = divmod(position, len(recorded))
        mark = recorded[index]
        taken.append(replace(mark, offset_s=mark.offset_s + turn * lap))
    return _stretch(taken, rate)


def merge_clients(clients: Sequence[Client], count: int, rate: float, seed: int) -> list[Arrival]:
    """The arrivals of many clients with rates and bursts of their own, as ServeGen makes them.

    A window with at least median traffic is drawn; from there on every client sends its share of
    ``rate`` with gaps of its own distribution, window after window. Time is not compressed: all
    clients are slowed down or sped up by one factor, and keep the CV of their gaps.

    Args:
        clients: Each with its windows.
        count: Arrivals, at least 1.
        rate: Mean arrivals a second, more than 0.
        seed: Of the window and the gaps.

    Raises:
        ConfigError: No client has ever sent anything.
    """
    _check(count, rate)
    totals = _total_rates(clients)
    if not totals:
        raise ConfigError("no client has a window with requests; take another record")
    starts = sorted(totals)
    middle = median(totals.values())
    generator = random.Random(seed)  # noqa: S311
    begin = generator.choice([start for start in starts if totals[start] >= middle])
    factor = rate / totals[begin]
    first = starts.index(begin)
    windows = (
        _one_window(clients, starts[(first + turn) % len(starts)], factor, generator, turn)
        for turn in itertools.count()
    )
    marks = itertools.islice(itertools.chain.from_iterable(windows), count)
    return _stretch(list(marks), rate)


def _total_rates(clients: Sequence[Client]) -> dict[float, float]:
    totals: dict[float, float] = {}
    for client in clients:
        for start, window in client.windows.items():
            totals[start] = totals.get(start, 0.0) + window.rate
    return totals


def _one_window(
    clients: Sequence[Client], start: float, factor: float, generator: random.Random, turn: int
) -> Iterator[Arrival]:
    streams = [
        _arrivals_of(client.name, window, factor, generator)
        for client in clients
        if (window := client.windows.get(start)) is not None
    ]
    for mark in heapq.merge(*streams, key=lambda mark: mark.offset_s):
        yield replace(mark, offset_s=mark.offset_s + turn * WINDOW_SECONDS)


def _arrivals_of(
    name: str, window: ClientWindow, factor: float, generator: random.Random
) -> Iterator[Arrival]:
    for offset in _renewals(window, window.rate * factor, generator):
        yield Arrival(offset, tenant=name)


def _renewals(window: ClientWindow, rate: float, generator: random.Random) -> Iterator[float]:
    # The window begins somewhere in a gap, not at an arrival.
    now = generator.random() * _gap(window, rate, generator)
    while now < WINDOW_SECONDS:
        yield now
        now += _gap(window, rate, generator)


def _gap(window: ClientWindow, rate: float, generator: random.Random) -> float:
    # The recorded scale fits the log's own granularity; the recorded rate says the mean gap.
    if window.family is Family.GAMMA:
        return generator.gammavariate(window.shape, 1 / (rate * window.shape))
    mean_of_unit = math.gamma(1 + 1 / window.shape)
    return generator.weibullvariate(1 / (rate * mean_of_unit), window.shape)


def _accumulate(gap: Callable[[], float], count: int, rate: float) -> list[Arrival]:
    _check(count, rate)
    marks = itertools.accumulate((gap() for _ in range(count - 1)), initial=0.0)
    return _stretch([Arrival(mark) for mark in marks], rate)


def _stretch(marks: Sequence[Arrival], rate: float) -> list[Arrival]:
    start, end = marks[0].offset_s, (len(marks) - 1) / rate
    span = marks[-1].offset_s - start
    if span <= 0 and end > 0:
        raise ConfigError("the arrivals are all at one moment; ask for more, or for fewer bursts")
    stretch = end / span if end else 0.0
    return [replace(mark, offset_s=min((mark.offset_s - start) * stretch, end)) for mark in marks]


def _check(count: int, rate: float) -> None:
    if count < 1 or not 0 < rate < math.inf:
        raise ValueError("count and rate must be positive")
