"""One line: three orders at once, against a list that is sorted anew for every question."""

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.line import Line
from fakes.tickets import ticket, work

NEVER = float("inf")
RANKS = st.integers(0, 5).map(float)
WAITS = st.one_of(st.floats(0, 20), st.just(NEVER))
TOKENS = st.integers(0, 1_000)


def ranked(
    number: int, rank: float, *, enqueued: float = 0.0, guard_at: float = NEVER, tokens: float = 10
) -> Ticket:
    made = ticket(number, tokens, enqueued=enqueued)
    made.rank, made.guard_at = rank, guard_at
    return made


def line_of(*tickets: Ticket) -> Line:
    line = Line()
    for each in tickets:
        line.add(each)
    return line


def numbers(tickets: list[Ticket]) -> list[int]:
    return [each.number for each in tickets]


def in_turn(line: Line, now: float = 0.0) -> list[int]:
    return numbers(list(line.in_turn(now)))


def test_an_empty_line_has_nobody_to_name() -> None:
    line = Line()
    assert (len(line), line.service_seconds, in_turn(line), line.everybody()) == (0, 0, [], [])
    assert (line.guarded(1e9), line.last()) == (None, None)
    assert line.position(1e9) == 0


def test_rank_decides_and_then_arrival() -> None:
    line = line_of(ranked(0, 3), ranked(1, 1), ranked(2, 1), ranked(3, 2))
    assert in_turn(line) == [1, 2, 3, 0]
    last = line.last()
    assert last is not None
    assert last.number == 0


def test_a_newcomer_goes_behind_those_of_its_rank() -> None:
    line = line_of(ranked(0, 1), ranked(1, 2), ranked(2, 2), ranked(3, 3))
    assert [line.position(rank) for rank in (0, 1, 1.5, 2, 3, 4)] == [0, 1, 1, 3, 4, 4]


def test_who_comes_back_stands_before_all_others() -> None:
    line = line_of(ranked(0, 1, guard_at=5.0), ranked(1, 0))
    line.restore(ranked(2, 9))
    line.restore(ranked(3, 9))
    assert in_turn(line, now=10.0) == [3, 2, 0, 1]
    assert line.position(-1) == 2
    last = line.last()
    assert last is not None
    assert last.number == 0


def test_only_who_was_overdue_first_goes_first() -> None:
    line = line_of(
        ranked(0, 1), ranked(1, 9, guard_at=20.0), ranked(2, 5, guard_at=10.0), ranked(3, 7)
    )
    assert in_turn(line, now=9.9) == [0, 2, 3, 1]
    assert in_turn(line, now=10.0) == [2, 0, 3, 1]
    overdue = line.guarded(30.0)
    assert overdue is not None
    assert overdue.number == 2
    line.remove(overdue)
    assert in_turn(line, now=30.0) == [1, 0, 3]


def test_a_new_rank_comes_with_a_new_guard() -> None:
    moved = ranked(0, 5, guard_at=10.0)
    line = line_of(moved, ranked(1, 3))
    line.rerank(moved, 1.0, 50.0, work(100))
    assert in_turn(line, now=20.0) == [0, 1]
    assert line.guarded(20.0) is None
    assert line.guarded(50.0) is moved
    assert line.service_seconds == pytest.approx(
        work(100).service_seconds + work(10).service_seconds
    )


def test_who_came_back_keeps_its_place_whatever_is_learned() -> None:
    line = line_of(ranked(1, 0))
    back = ranked(0, 7)
    line.restore(back)
    line.rerank(back, 9.0, 99.0, work(500))
    assert in_turn(line) == [0, 1]
    assert (back.rank, back.work) == (7, work(500))


def test_who_does_not_wait_cannot_leave() -> None:
    line = line_of(ranked(0, 1))
    with pytest.raises(KeyError):
        line.remove(ranked(1, 1))
    assert in_turn(line) == [0]


def test_guards_that_are_outdated_do_not_pile_up() -> None:
    """A line that is never empty must not remember all whom it ever saw."""
    stays = ranked(0, 1)
    line = line_of(stays)
    for number in range(1, 2_000):
        passing = ranked(number, 0, guard_at=1e9)
        line.add(passing)
        line.remove(passing)
        line.rerank(stays, float(number), 1e9 - number, stays.work)
    assert len(line._guarded) < 200
    assert line.guarded(1e9) is stays


@dataclass
class Entry:
    """What the model knows of a ticket."""

    ticket: Ticket
    came_back: int = -1


class LineMachine(RuleBasedStateMachine):
    """Anything that may happen to a line, and everything that may be asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.entries: list[Entry] = []
        self.gone: list[Ticket] = []
        self.now = 100.0
        self.count = 0
        self.returns = 0

    @rule(rank=RANKS, wait=WAITS, tokens=TOKENS)
    def add(self, rank: float, wait: float, tokens: int) -> None:
        made = ranked(
            self.count, rank, enqueued=self.now, guard_at=self.now + wait, tokens=float(tokens)
        )
        self.count += 1
        self.line.add(made)
        self.entries.append(Entry(made))

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        entry = self.entries.pop(data.draw(st.integers(0, len(self.entries) - 1)))
        self.line.remove(entry.ticket)
        self.gone.append(entry.ticket)
        with pytest.raises(KeyError):
            self.line.remove(entry.ticket)

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        back = self.gone.pop(data.draw(st.integers(0, len(self.gone) - 1)))
        self.line.restore(back)
        self.entries.append(Entry(back, self.returns))
        self.returns += 1

    @precondition(lambda self: self.entries)
    @rule(data=st.data(), rank=RANKS, wait=WAITS, tokens=TOKENS)
    def rerank(self, data: st.DataObject, rank: float, wait: float, tokens: int) -> None:
        entry = data.draw(st.sampled_from(self.entries))
        before = entry.ticket.rank
        guard_at = entry.ticket.enqueued + wait
        self.line.rerank(entry.ticket, rank, guard_at, work(float(tokens)))
        assert entry.ticket.work == work(float(tokens))
        if entry.came_back >= 0:
            assert entry.ticket.rank == before
        else:
            assert (entry.ticket.rank, entry.ticket.guard_at) == (rank, guard_at)

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def orders_are_those_of_the_model(self) -> None:
        back = sorted((e for e in self.entries if e.came_back >= 0), key=lambda e: -e.came_back)
        others = [entry.ticket for entry in self.entries if entry.came_back < 0]
        others.sort(key=lambda t: (t.rank, t.number))
        overdue = min(
            (t for t in others if t.guard_at <= self.now),
            key=lambda t: (t.guard_at, t.number),
            default=None,
        )
        assert self.line.guarded(self.now) is overdue
        rest = [t for t in others if t is not overdue]
        expected = [e.ticket for e in back] + ([overdue] if overdue else []) + rest
        assert list(self.line.in_turn(self.now)) == expected
        assert self.line.first(self.now) is (expected[0] if expected else None)
        for place, each in enumerate(rest):
            before = place + (overdue is not None and _key(overdue) < _key(each))
            assert self.line.stands_behind(each, before, self.now)
            assert not self.line.stands_behind(each, before + 1, self.now)
        for each in expected[: len(expected) - len(rest)]:
            assert not self.line.stands_behind(each, 1, self.now)
        assert self.line.last() is (others[-1] if others else None)
        for rank in (-0.5, 0.0, 2.5, 5.0):
            assert self.line.position(rank) == len(back) + sum(t.rank <= rank for t in others)

    @invariant()
    def sums_are_those_of_the_model(self) -> None:
        everybody = [entry.ticket for entry in self.entries]
        assert len(self.line) == len(everybody)
        assert set(numbers(self.line.everybody())) == set(numbers(everybody))
        total = sum(t.work.service_seconds for t in everybody)
        assert self.line.service_seconds == pytest.approx(total, abs=1e-9)


def _key(ticket: Ticket) -> tuple[float, int]:
    return (ticket.rank, ticket.number)


TestLine = pytest.mark.slow(LineMachine.TestCase)


@pytest.mark.slow
def test_a_hundred_thousand_can_wait() -> None:
    random = Random(1)  # noqa: S311  reproducible
    line = Line()
    tickets = [ranked(i, random.random(), guard_at=1e6 + i) for i in range(100_000)]
    for each in tickets:
        line.add(each)
    for each in random.sample(tickets, 10_000):
        line.rerank(each, random.random(), 1e6, each.work)
    ranks = []
    while (first := next(line.in_turn(0.0), None)) is not None:
        ranks.append(first.rank)
        line.remove(first)
    assert ranks == sorted(ranks)
    assert (len(ranks), len(line), line.service_seconds) == (100_000, 0, 0.0)
