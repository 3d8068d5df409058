"""Gateways that see nothing of each other but their sum stay within the whole, and use it."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_core.shares import Share
from alise_gateway.domain.claim import DARED, Claim, Seen


@dataclass
class Shared:
    """Something that several gateways use."""

    whole: int
    count: int
    whole_numbers: bool = True
    dared: float = DARED
    own: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.own = [0.0] * self.count
        self.claims = [Claim(whole_numbers=self.whole_numbers, dared=self.dared) for _ in self.own]
        for index in range(self.count):
            self.look(index)

    @property
    def total(self) -> float:
        return sum(self.own)

    def base(self, index: int) -> int:
        return Share(index, self.count).of(self.whole)

    def look(self, index: int) -> None:
        own = self.own[index]
        seen = Seen(self.whole, own, self.total - own)
        self.claims[index].look(seen, Share(index, self.count), self.base(index))

    def round(self) -> None:
        for index in range(self.count):
            self.look(index)

    def take(self, index: int, part: float = 1.0) -> float:
        """Take some of what it may have; how much there was."""
        most = self.claims[index].most
        assert most is not None
        room = max(0.0, most - self.own[index])
        self.own[index] += int(room * part) if self.whole_numbers else room * part
        return room

    def end(self, index: int, part: float, replaced: float = 0.0) -> None:
        """Some of what it has ends, of which some is replaced at once."""
        gone = self.own[index] * part
        gone = float(int(gone)) if self.whole_numbers else gone
        self.own[index] -= gone
        again = min(gone * replaced, max(0.0, (self.claims[index].most or 0.0) - self.own[index]))
        self.own[index] += int(again) if self.whole_numbers else again
        self.claims[index].settle(self.own[index], self.base(index))


PARTS = (0.0, 0.1, 0.5, 1.0)


@pytest.mark.slow
@given(
    whole=st.sampled_from([1, 2, 3, 5, 8, 16, 40, 100, 256, 1_000]),
    count=st.integers(2, 5),
    whole_numbers=st.booleans(),
    dared=st.sampled_from([0.0, DARED]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=max(500, settings().max_examples))
def test_all_together_stay_within_the_whole(
    whole: int, count: int, whole_numbers: bool, dared: float, seed: int
) -> None:
    """Whoever takes and gives up what whenever, each looking once a round at its own moment.

    The schedule is drawn from the seed: drawn by hypothesis, it would take most of the time.
    """
    generator = Random(seed)  # noqa: S311
    shared = Shared(whole, count, whole_numbers, dared)
    most = whole * (1 + dared) + 1e-6
    for _ in range(generator.randint(1, 20)):
        taking, ending = generator.random(), generator.random() ** 2
        for looks in range(count):
            for index in generator.choices(range(count), k=generator.randint(0, 8)):
                if generator.random() < ending:
                    shared.end(index, generator.choice(PARTS), generator.choice(PARTS))
                if generator.random() < taking:
                    shared.take(index, generator.choice(PARTS))
                assert shared.total <= most
            shared.look(looks)
    for index in range(count):
        shared.take(index)
    assert shared.total <= most


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("whole", [16, 100, 256])
def test_one_that_needs_it_gets_nearly_all(whole: int, count: int) -> None:
    shared = Shared(whole, count)
    for _ in range(80):
        shared.take(0)
        shared.round()
    assert shared.own[0] == int(whole - max(0.05 * whole, count - 1))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_who_comes_later_gets_its_share(count: int) -> None:
    """The first one gives back as its requests end, a tenth of them a round."""
    shared = Shared(256, count)
    for _ in range(20):
        shared.take(0)
        shared.round()
    for _ in range(40):
        shared.end(0, 0.1, replaced=1.0)
        for index in range(1, count):
            shared.take(index)
        assert shared.total <= 256 * (1 + DARED)
        shared.round()
    for index in range(1, count):
        assert shared.own[index] >= shared.base(index) - 2


def test_what_is_wanted_by_all_is_shared_equally() -> None:
    shared = Shared(90, 3)
    for _ in range(20):
        for index in range(3):
            shared.take(index)
        shared.round()
    assert shared.total >= 85
    assert max(shared.own) - min(shared.own) <= 5


def test_nobody_is_locked_out() -> None:
    """Each may have one at any time, but for those whose share is none."""
    shared = Shared(16, 3)
    for _ in range(20):
        shared.take(0)
        shared.round()
    assert shared.take(1) >= 1
    assert shared.take(2) >= 1
    assert shared.total <= 16

    few = Shared(2, 3)
    assert [few.take(index) for index in range(3)] == [0, 1, 1]


def test_what_is_not_used_is_given_up() -> None:
    shared = Shared(100, 2)
    for _ in range(20):
        shared.take(0)
        shared.round()
    had = shared.own[0]
    shared.end(0, 0.5)
    assert shared.take(0) < had / 4, "it was not replaced at once"


def test_what_is_replaced_at_once_is_kept() -> None:
    shared = Shared(100, 2)
    for _ in range(20):
        shared.take(0)
        shared.round()
    had = shared.own[0]
    shared.end(0, 0.5, replaced=1.0)
    assert shared.own[0] == had


def test_it_gives_back_ever_more_while_others_take_of_the_reserve() -> None:
    claim, share = Claim(whole_numbers=True), Share(0, 2)
    given = []
    for _ in range(4):
        claim.look(Seen(100.0, 90.0, 7.0), share, 50.0)
        assert claim.most is not None
        given.append(90.0 - claim.most)
    assert given == [2, 4, 8, 10], "up to a quarter of what is borrowed"
    claim.look(Seen(100.0, 90.0, 0.0), share, 50.0)
    claim.look(Seen(100.0, 90.0, 7.0), share, 50.0)
    assert claim.most == 88.0


def test_what_cannot_be_seen_is_forgotten() -> None:
    claim = Claim(whole_numbers=False)
    claim.look(Seen(100.0, 50.0, 0.0), Share(0, 2), 50.0)
    claim.forget()
    assert claim.most is None
    claim.settle(10.0, 50.0)
    assert claim.most is None
