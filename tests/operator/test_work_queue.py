import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alise_operator.work_queue import Backoff, WorkQueue


def a_queue(jitter: float = 1.0) -> WorkQueue[str]:
    return WorkQueue(lambda: jitter, Backoff(first_seconds=1, most_seconds=60))


def take_all(queue: WorkQueue[str], now: float) -> list[str]:
    taken = []
    while (key := queue.take(now)) is not None:
        taken.append(key)
    return taken


def test_a_key_that_is_added_often_is_one_look() -> None:
    queue = a_queue()
    for _ in range(100):
        queue.add("pool", 0)

    assert take_all(queue, 0) == ["pool"]


def test_keys_are_taken_by_their_time_and_then_in_their_order() -> None:
    queue = a_queue()
    queue.add("late", 3)
    queue.add("first", 1)
    queue.add("second", 1)

    assert take_all(queue, 5) == ["first", "second", "late"]


def test_a_key_is_not_taken_before_it_is_due() -> None:
    queue = a_queue()
    queue.add("pool", 2)

    assert queue.take(1.9) is None
    assert queue.next_due() == 2
    assert queue.take(2) == "pool"


def test_an_earlier_look_replaces_a_later_one_and_not_the_other_way_round() -> None:
    queue = a_queue()
    queue.add("pool", 300)
    queue.add("pool", 1)
    queue.add("pool", 200)

    assert queue.next_due() == 1
    assert take_all(queue, 1_000) == ["pool"]


def test_a_change_during_the_work_brings_the_key_back_after_it() -> None:
    queue = a_queue()
    queue.add("pool", 0)
    assert queue.take(0) == "pool"

    queue.add("pool", 0)
    assert queue.take(0) is None  # nobody else may have it meanwhile
    assert queue.next_due() is None

    queue.finish("pool", 1)
    assert queue.take(1) == "pool"


def test_failures_wait_twice_as_long_each_time_up_to_the_most() -> None:
    queue = a_queue()
    waits = []
    now = 0.0
    queue.add("pool", now)
    for _ in range(9):
        assert queue.take(now) == "pool"
        queue.finish("pool", now, failed=True)
        due = queue.next_due()
        assert due is not None
        waits.append(due - now)
        now = due

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_success_forgets_failures() -> None:
    queue = a_queue()
    for failed in (True, True, False, True):
        queue.add("pool", 0)
        queue.take(100)
        queue.finish("pool", 0, failed=failed)

    assert queue.next_due() == 1


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 0.5), (0.5, 0.75), (0.999, 0.9995)])
def test_jitter_spreads_over_the_upper_half(jitter: float, wait: float) -> None:
    assert Backoff(1, 60).seconds(1, jitter) == wait


def test_backoff_does_not_overflow() -> None:
    assert Backoff(1, 300).seconds(100_000, 0.999) <= 300


def test_a_change_does_not_wait_for_the_backoff() -> None:
    queue = a_queue()
    queue.add("pool", 0)
    queue.take(0)
    queue.finish("pool", 0, failed=True)
    queue.add("pool", 0.1)

    assert queue.next_due() == 0.1


def test_what_is_discarded_is_not_looked_at() -> None:
    queue = a_queue()
    queue.add("pool", 0)
    queue.discard("pool")

    assert queue.take(1) is None
    assert queue.next_due() is None
    assert len(queue) == 0


def test_depth_counts_what_is_due_and_not_in_work() -> None:
    queue = a_queue()
    for key, due in (("a", 0), ("b", 0), ("c", 9)):
        queue.add(key, due)
    queue.take(0)
    queue.add("a", 0)

    assert queue.depth(1) == 1
    assert len(queue) == 3


class Model(RuleBasedStateMachine):
    """Against what it promises: a set of due times, and a set of keys in work."""

    keys = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.queue = WorkQueue[str](lambda: 0.5, Backoff(1, 8))
        self.now = 0.0
        self.due: dict[str, float] = {}
        self.working: set[str] = set()
        self.failures: dict[str, int] = {}

    @rule(key=keys, delay=st.floats(0, 10))
    def add(self, key: str, delay: float) -> None:
        self.queue.add(key, self.now + delay)
        self.due[key] = min(self.due.get(key, float("inf")), self.now + delay)

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        key = self.queue.take(self.now)
        ready = {k: d for k, d in self.due.items() if d <= self.now and k not in self.working}
        if key is None:
            assert ready == {}
        else:
            assert ready[key] == min(ready.values())
            del self.due[key]
            self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), failed=st.booleans())
    def finish(self, data: st.DataObject, failed: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.working.discard(key)
        self.queue.finish(key, self.now, failed=failed)
        self.failures[key] = self.failures.get(key, 0) + 1 if failed else 0
        if failed:
            retry = self.now + Backoff(1, 8).seconds(self.failures[key], 0.5)
            self.due[key] = min(self.due.get(key, retry), retry)

    @rule(key=keys)
    def discard(self, key: str) -> None:
        self.queue.discard(key)
        self.due.pop(key, None)
        self.failures[key] = 0

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert len(self.queue) == len(self.due)
        free = [due for key, due in self.due.items() if key not in self.working]
        assert self.queue.next_due() == (min(free) if free else None)


TestModel = Model.TestCase
