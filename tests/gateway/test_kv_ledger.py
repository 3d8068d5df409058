"""The future peak of KV memory is what playing the future through would find."""

from dataclasses import dataclass
from math import ceil, log, log1p
from timeit import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.prediction import LEVELS, LengthDistribution
from alise_gateway.domain.kv_ledger import KvLedger

CLOSE = 1e-3


def exactly(tokens: float) -> LengthDistribution:
    """A hair more, so that rounding does not end it before its last token."""
    return LengthDistribution.of([log1p(tokens + 1e-6)] * len(LEVELS), 0, 1e9, None)


def about(tokens: float) -> LengthDistribution:
    """Half of the answers are longer, a few of them much."""
    factors = (0.1, 0.3, 0.6, 1.0, 1.6, 3.0, 6.0)
    return LengthDistribution.of([log1p(tokens * factor) for factor in factors], 0, 1e9, None)


@dataclass(frozen=True)
class Sent:
    """One request; a step takes a second."""

    start: int
    prompt_tokens: int
    output_tokens: int

    @property
    def end(self) -> int:
        return self.start + self.output_tokens

    def held(self, now: int) -> int:
        return self.prompt_tokens + now - self.start if self.start <= now <= self.end else 0


sent = st.builds(Sent, st.integers(0, 30), st.integers(0, 50), st.integers(0, 40))


def simulated_peak(running: list[Sent], now: int) -> int:
    last = max((one.end for one in running), default=now)
    return max(sum(one.held(moment) for one in running) for moment in range(now, last + 1))


def ledger_at(everybody: list[Sent], now: int) -> tuple[KvLedger, list[Sent]]:
    """A ledger that has seen all that came and went until ``now``, and who still runs."""
    ledger = KvLedger(step_seconds=1.0)
    happenings = [(one.start, 1, number, one) for number, one in enumerate(everybody)]
    happenings += [(one.end, 2, number, one) for number, one in enumerate(everybody)]
    for moment, kind, number, one in sorted(happenings, key=lambda item: item[:3]):
        if moment > now or (kind == 2 and moment == now):
            continue
        if kind == 1:
            ledger.add(number, one.prompt_tokens, exactly(one.output_tokens), moment)
        else:
            ledger.remove(number, moment)
        ledger.check()
    return ledger, [one for one in everybody if one.start <= now <= one.end]


@pytest.mark.slow
@given(st.lists(sent, max_size=12), st.integers(0, 40))
def test_the_peak_is_that_of_a_simulation(everybody: list[Sent], now: int) -> None:
    ledger, running = ledger_at(everybody, now)
    assert len(ledger) == len(running)
    assert ledger.held(now) == pytest.approx(sum(one.held(now) for one in running))
    assert ledger.peak(now) == pytest.approx(simulated_peak(running, now), abs=CLOSE)


@pytest.mark.slow
@given(st.lists(sent, max_size=12), st.integers(0, 40), sent)
def test_the_peak_with_one_more(everybody: list[Sent], now: int, more: Sent) -> None:
    ledger, running = ledger_at(everybody, now)
    before = ledger.peak(now)
    extra = Sent(now, more.prompt_tokens, more.output_tokens)
    found = ledger.peak_with(extra.prompt_tokens, extra.output_tokens, now)
    assert found == pytest.approx(simulated_peak([*running, extra], now), abs=CLOSE)
    assert ledger.peak(now) == before, "asking changes nothing"
    ledger.add(99, extra.prompt_tokens, exactly(extra.output_tokens), now)
    assert ledger.peak(now) == pytest.approx(found, abs=CLOSE)


@pytest.mark.slow
@given(st.lists(sent, min_size=1, max_size=8), st.floats(0.01, 100), st.floats(0, 1))
def test_the_peak_stays_while_predictions_hold(
    everybody: list[Sent], step_seconds: float, part: float
) -> None:
    ledger, running = ledger_at([Sent(0, it.prompt_tokens, it.end + 1) for it in everybody], 0)
    before = ledger.peak(0)
    ledger.set_pace(step_seconds, 0)
    first_end = min(one.end for one in running)
    assert ledger.peak(first_end * step_seconds * part * 0.999) == pytest.approx(before)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 500), st.floats(-1, 50)), max_size=60))
def test_any_coming_and_going(operations: list[tuple[int, int, float]]) -> None:
    """In any order, early, late, with a clock that goes back."""
    ledger = KvLedger(step_seconds=0.5)
    inside: dict[int, int] = {}
    now = 0.0
    for number, tokens, seconds in operations:
        now += seconds
        if number in inside:
            ledger.remove(number, now)
            del inside[number]
        else:
            ledger.add(number, tokens, about(tokens) if number % 3 else None, now)
            inside[number] = tokens
        ledger.check()
        assert len(ledger) == len(inside)
        peak = ledger.peak(now)
        assert peak >= ledger.held(now) - 1e-6 >= sum(inside.values()) - 2e-6
        ahead = ledger.peak_with(0, 0, now)
        assert ahead - 1e-6 <= ledger.peak_with(10, 20, now) <= max(ahead, peak) + 30 + 1e-6
        assert ledger.peak_with(10, 20, now) >= ledger.held(now) + 10 - 1e-6
        ledger.check()


def test_one_that_was_never_there() -> None:
    ledger = KvLedger()
    with pytest.raises(KeyError):
        ledger.remove(1, 0.0)


def test_an_idle_ledger_holds_nothing_however_long_it_ran() -> None:
    ledger = KvLedger(step_seconds=0.3)
    for number in range(1_000):
        ledger.add(number, 0.1 + number, about(7.7), 1e6 + number)
        ledger.add(-number - 1, 0.7, about(0.1), 1e6 + number + 0.1)
        ledger.remove(number, 1e6 + number + 0.2)
        ledger.remove(-number - 1, 1e6 + number + 0.3)
    assert ledger.held(1e9) == ledger.peak(1e9) == 0.0


@pytest.mark.parametrize("length", [None, exactly(10), about(10)])
def test_who_outlasts_its_prediction_is_predicted_anew_ever_further(
    length: LengthDistribution | None,
) -> None:
    ledger = KvLedger(step_seconds=1.0)
    ledger.add(1, 100, length, 0.0)
    peaks: list[float] = []
    for second in range(0, 100_000, 7):
        peak = ledger.peak(second)
        assert peak >= 100 + second
        if not peaks or peak > peaks[-1]:
            peaks.append(peak)
    assert len(peaks) <= ceil(log(100_000) / log(9 / 8)) + 10
    assert peaks == sorted(peaks)
    assert peaks[-1] <= 100 + 5 * 100_000, "and not absurdly far"


def test_a_long_silence_is_made_up_for_at_once() -> None:
    """A clock that jumps, with everybody in flight beyond all predictions."""
    ledger = KvLedger(step_seconds=1e-9)
    for number in range(256):
        ledger.add(number, 10, about(number + 1) if number % 2 else None, 0.0)
    assert ledger.peak(1e9) >= ledger.held(1e9) > 1e12
    ledger.check()


def test_a_higher_quantile_reserves_more() -> None:
    peaks = []
    for quantile in (0.5, 0.9):
        ledger = KvLedger()
        ledger.quantile = quantile
        ledger.add(1, 10, about(100), 0.0)
        peaks.append(ledger.peak(0.0))
    assert peaks == pytest.approx([110, 10 + about(100).quantile(0.9)])


@pytest.mark.slow
def test_a_full_batch_costs_in_proportion() -> None:
    """Judged within one run: sixteen times the requests take about sixteen times as long."""

    def seconds(entries: int) -> float:
        ledger = KvLedger(step_seconds=0.02)
        for number in range(entries):
            ledger.add(number, 50 + number, about(10 + 97 * number % 1_000), number * 0.01)
        return min(repeat(lambda: ledger.peak_with(300, 200, 3.0), number=200, repeat=7))

    assert seconds(256) < 16 * 6 * seconds(16)


@given(st.lists(st.integers(1, 300), max_size=12), st.floats(0, 5))
def test_another_quantile_counts_for_what_is_in_flight(lengths: list[int], passed: float) -> None:
    """As if everybody had been sent under it, but for who has outlasted a prediction."""
    changed, fresh = KvLedger(0.0, 1.0), KvLedger(0.0, 1.0, usual_quantile=0.9)
    for number, tokens in enumerate(lengths):
        for it in (changed, fresh):
            it.add(number, 10.0, about(tokens), 0.0)
    changed.scale = 3.0
    changed.set_quantiles(0.9, passed)
    changed.check()
    assert changed.total == pytest.approx(fresh.total)
    assert changed.peak(passed) == pytest.approx(fresh.peak(passed))
    for number in range(len(lengths)):
        assert changed.remove(number, passed) == pytest.approx(fresh.remove(number, passed))
    assert changed.total == 0.0
