"""The line against one that is sorted anew whenever it is looked at."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from alise_vllm.ordering.line import WaitingLine
from alise_vllm.ordering.policies import Fcfs, Guard, Mlfq, Policy, Srpt, ToolAware
from alise_vllm.ordering.work import Work
from fakes.works import PACE, make

GUARD = Guard(30.0, 10.0)
SRPT = Srpt(GUARD, 200.0)
POLICIES: list[Policy] = [Fcfs(), SRPT, Srpt(GUARD, 0.0), ToolAware(GUARD, 200.0), Mlfq()]


def numbers(works: list[Work]) -> list[int]:
    return [work.number for work in works]


def emptied(line: WaitingLine) -> list[Work]:
    return [line.take() for _ in range(len(line))]


def filled(policy: Policy, works: list[Work]) -> WaitingLine:
    line = WaitingLine(policy)
    for work in works:
        line.add(work, work.arrived, PACE)
    return line


def test_the_cheapest_of_the_best_class_is_next() -> None:
    long, short, worse = make(900, rank=1), make(90, rank=1), make(9, rank=2)
    line = filled(SRPT, [long, short, worse])

    assert line.first() is short
    assert line.best(2) == [short, long]
    assert line.best(9) == [short, long, worse] == line.in_order() == emptied(line)
    assert line.best(1) == []


def test_nobody_is_in_it_twice_or_taken_from_an_empty_one() -> None:
    work = make()
    line = filled(SRPT, [work])
    assert work in line

    with pytest.raises(ValueError, match="waits already"):
        line.add(work, 0.0, PACE)
    assert line.remove(work)
    assert not line.remove(work)
    assert work not in line
    with pytest.raises(IndexError):
        line.take()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10_000), st.booleans()), max_size=40),
    st.sampled_from(POLICIES[:4]),
    st.floats(0, 100),
)
def test_where_nothing_is_predicted_the_order_is_vllms_own(
    asked: list[tuple[int, int, bool]], policy: Policy, until: float
) -> None:
    works = [
        make(rank=rank, max_tokens=most, arrived=float(at), number=at)
        for at, (rank, most, _) in enumerate(asked)
    ]
    line = filled(policy, works)
    # Memory forces some back that ran: vLLM puts them where they were.
    back = [work for work, (_, _, returns) in zip(works, asked, strict=True) if returns]
    for work in back:
        line.remove(work)
    for work in back:
        work.generated += 700
        line.add(work, until, PACE)
    line.promote_starved(until, PACE)

    assert emptied(line) == sorted(works, key=lambda work: (work.rank, work.number))


def test_the_guess_without_a_prediction_stands_among_predictions() -> None:
    short, guess, long = make(20), make(max_tokens=200), make(2_000)
    line = filled(SRPT, [long, guess, short])

    assert emptied(line) == [short, guess, long]


def test_whoever_starves_goes_ahead_of_its_class_and_of_no_better_one() -> None:
    starving = make(2_000, rank=1)
    line = filled(SRPT, [starving])
    patience = SRPT.patience_seconds(starving, PACE)
    others = [make(5, rank=1, arrived=1.0), make(5, rank=0, arrived=1.0)]
    for work in others:
        line.add(work, 1.0, PACE)

    assert line.promote_starved(patience - 1.0, PACE) == 2
    assert line.first() is others[1]
    assert line.promote_starved(patience, PACE) == 1
    assert line.best(3) == [others[1], starving, others[0]]
    assert line.promote_starved(patience + 1e6, PACE) == 0


def test_being_set_aside_does_not_start_the_wait_anew() -> None:
    work = make(10)
    line = filled(SRPT, [work])
    for now in range(1, 30):
        line.remove(work)
        line.add(work, float(now), PACE)

    assert line.promote_starved(30.0, PACE) == 1


def test_another_policy_orders_those_that_wait() -> None:
    works = [make(900), make(90), make(None, max_tokens=50), make(9)]
    line = filled(SRPT, works)
    line.take()

    line.reorder(Fcfs(), works, PACE)
    assert line.in_order() == works[:3]

    line.reorder(SRPT, works, PACE)
    assert line.in_order() == [works[2], works[1], works[0]]


@dataclass
class Naive:
    """A list, sorted whenever it is looked at."""

    policy: Policy
    values: dict[int, tuple[int, int, float, int]] = field(default_factory=dict)
    deadlines: dict[int, float] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)

    def in_order(self) -> list[Work]:
        return sorted(self.works, key=lambda work: self.values[work.number])


class Lines(RuleBasedStateMachine):
    """Predicted requests come, are taken, leave, come back, starve; policies change."""

    works = Bundle("works")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.line = WaitingLine(SRPT)
        self.naive = Naive(SRPT)

    def enter(self, work: Work) -> None:
        if work in self.line:
            return
        self.line.add(work, self.now, PACE)
        self.naive.works.append(work)
        self.stand(work)
        if not work.promoted and work.waiting_since is not None:
            patience = self.naive.policy.patience_seconds(work, PACE)
            self.naive.deadlines[work.number] = work.waiting_since + patience

    def stand(self, work: Work) -> None:
        policy = self.naive.policy
        value = policy.value(policy.cost(work, PACE, resident=False), work)
        starved = 0 if work.promoted else 1
        self.naive.values[work.number] = (work.rank, starved, starved * value, work.number)

    def leave(self, work: Work) -> None:
        self.naive.works.remove(work)
        self.naive.deadlines.pop(work.number, None)

    @rule(
        target=works,
        p50=st.integers(1, 5_000),
        rank=st.integers(0, 2),
        prompt=st.integers(0, 9_000),
    )
    def arrive(self, p50: int, rank: int, prompt: int) -> Work:
        self.number += 1
        work = make(
            p50, 2 * p50, rank=rank, number=self.number, prompt_tokens=prompt, arrived=self.now
        )
        self.enter(work)
        return work

    @rule()
    def take(self) -> None:
        if self.naive.works:
            expected = self.naive.in_order()[0]
            assert self.line.take() is expected
            self.leave(expected)

    @rule(work=works)
    def remove(self, work: Work) -> None:
        if self.line.remove(work):
            self.leave(work)

    @rule(work=works, tokens=st.integers(0, 400))
    def come_back(self, work: Work, tokens: int) -> None:
        if work not in self.line:
            work.generated += tokens
            work.waiting_since = None
            self.enter(work)

    @rule(work=consumes(works))
    def end(self, work: Work) -> None:
        self.remove(work)

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.line.promote_starved(self.now, PACE)
        for work in list(self.naive.works):
            if self.naive.deadlines.get(work.number, self.now + 1) <= self.now:
                del self.naive.deadlines[work.number]
                self.stand(work)

    @rule(policy=st.sampled_from(POLICIES))
    def change(self, policy: Policy) -> None:
        waiting = list(self.naive.works)
        self.line.reorder(policy, waiting, PACE)
        self.naive = Naive(policy)
        for work in waiting:
            self.naive.works.append(work)
            self.stand(work)
            since = work.waiting_since
            assert since is not None
            patience = policy.patience_seconds(work, PACE)
            self.naive.deadlines[work.number] = since + patience

    @invariant()
    def the_same(self) -> None:
        self.line.check()
        assert len(self.line) == len(self.naive.works)
        expected = numbers(self.naive.in_order())
        assert numbers(self.line.in_order()) == expected
        assert numbers(self.line.best(3)) == expected[:3]


TestLines = Lines.TestCase


def test_what_left_is_not_kept() -> None:
    line = WaitingLine(SRPT)
    for number in range(1, 5_000):
        work = make(number, rank=number)
        line.add(work, 0.0, PACE)
        line.remove(work)

    line.check()
    assert not line.by_rank
    assert len(line._heap) + len(line._deadlines) + len(line._lanes) < 200
