"""Times the queue's events, one by one, and counts priority inversions."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from alise_bench.load.distribution import percentile
from alise_bench.queue_cost.scene import Scene, Shape
from alise_core.policy import OrderingName
from alise_core.service_class import ServiceClass
from alise_gateway.queueing.events import Arrived, Cancelled, Dispatch, Effect, Event

_GC_THRESHOLDS = (20_000, 20, 50)
"""As the gateway sets them, which collects and freezes what it holds once it has started."""
_TICK_EVERY = 4
"""Rounds of one event each; a gateway ticks a few times a second."""
_MICRO = 1e-3
"""Microseconds in a nanosecond."""


class Kind(StrEnum):
    """What happens."""

    ARRIVE = "arrive"
    """A request comes and waits."""
    FINISH = "finish"
    """An answer is complete: whatever fits now is dispatched."""
    REPREDICT = "repredict"
    """More is known of a request that waits."""
    CANCEL = "cancel"
    """A waiting request's client leaves."""
    SCRAPE = "scrape"
    """A backend's figures have been read anew, once a second and backend."""
    TICK = "tick"
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of one kind of event, microseconds.

    Attributes:
        kind: Which.
        events: How many there were.
        p50_us: Median.
        p99_us: 99th percentile.
        worst_us: The longest one, the collector's pauses included.
    """

    kind: Kind
    events: int
    p50_us: float
    p99_us: float
    worst_us: float


_MAKERS: dict[Kind, Callable[[Scene], Event]] = {
    Kind.ARRIVE: Scene.arrival,
    Kind.FINISH: Scene.finish,
    Kind.REPREDICT: Scene.repredict,
    Kind.CANCEL: Scene.cancel,
    Kind.SCRAPE: Scene.scrape,
    Kind.TICK: Scene.tick,
}


def measure(shape: Shape, rounds: int, seed: int, nanoseconds: Callable[[], int]) -> list[Cost]:
    """Fill a queue, then time events of every kind while it keeps its length.

    Args:
        shape: What waits, and what for.
        rounds: Times that every kind but the tick happens, which happens a quarter as often;
            arrivals fill up what leaves, so there are more of them.
        seed: Of everything that is drawn.
        nanoseconds: The clock, for example the CPU time of this thread.
    """
    scene = Scene(shape, seed)
    taken: dict[Kind, list[int]] = {kind: [] for kind in Kind}

    def time(kind: Kind) -> None:
        event = _MAKERS[kind](scene)
        begin = nanoseconds()
        effects = scene.apply(event)
        taken[kind].append(nanoseconds() - begin)
        scene.follow(effects)

    with _collector_as_in_the_gateway():
        scene.fill()
        for number in range(rounds):
            time(Kind.FINISH)
            time(Kind.REPREDICT)
            time(Kind.CANCEL)
            time(Kind.SCRAPE)
            if number % _TICK_EVERY == 0:
                time(Kind.TICK)
            while not scene.full:
                time(Kind.ARRIVE)
    return [_cost(kind, values) for kind, values in taken.items() if values]


def _cost(kind: Kind, nanoseconds: list[int]) -> Cost:
    ordered = sorted(value * _MICRO for value in nanoseconds)
    return Cost(
        kind, len(ordered), percentile(ordered, 0.5), percentile(ordered, 0.99), ordered[-1]
    )


@dataclass(frozen=True, slots=True)
class Inversions:
    """Whether a better class ever waited while another was dispatched.

    Attributes:
        dispatches: How many were looked at.
        inversions: How many were of a class below one that waited.
        by_class: Dispatches by class: a class that never had a turn proves nothing.
    """

    dispatches: int
    inversions: int
    by_class: dict[str, int]


def count_inversions(ordering: OrderingName, dispatches: int, seed: int) -> Inversions:
    """Run a queue that now and then empties, and count.

    No class has a trickle and every backend has room for every request, so nothing excuses a
    dispatch out of turn.
    """
    watch = _Watch()
    for part, waiting in enumerate(_LENGTHS):
        shape = Shape(ordering, waiting, 10, 4, memory_bound=False, trickle=False)
        scene = Scene(shape, seed + part)
        enough = dispatches * (part + 1) // len(_LENGTHS)
        while watch.dispatches < enough:
            _swing(scene, watch)
    return Inversions(
        watch.dispatches, watch.inversions, {str(name): n for name, n in watch.by_class.items()}
    )


_LENGTHS = (8, 64, 512)
"""Short queues are the ones that run out of a class."""


def _swing(scene: Scene, watch: "_Watch") -> None:
    """Fill the queue and empty it by half."""
    while not scene.full:
        watch.apply(scene, scene.arrival())
    half = len(scene.waiting) // 2
    while len(scene.waiting) > half:
        watch.apply(scene, scene.finish())


class _Watch:
    """Keeps its own count of who waits, and compares every dispatch with it."""

    def __init__(self) -> None:
        self.dispatches = 0
        self.inversions = 0
        self.by_class: Counter[ServiceClass] = Counter()
        self._waiting: Counter[tuple[int, ServiceClass]] = Counter()

    def apply(self, scene: Scene, event: Event) -> None:
        """Let a scene go on by one event."""
        place = id(scene)
        if isinstance(event, Arrived):
            self._waiting[place, event.ticket.service_class] += 1
        elif isinstance(event, Cancelled):
            self._waiting[place, event.ticket.service_class] -= 1
        effects = scene.apply(event)
        for effect in effects:
            self._note(effect, place)
        scene.follow(effects)

    def _note(self, effect: Effect, place: int) -> None:
        if not isinstance(effect, Dispatch):
            return
        mine = effect.ticket.service_class
        self.dispatches += 1
        self.by_class[mine] += 1
        self._waiting[place, mine] -= 1
        better = (item for item in ServiceClass if item.rank < mine.rank)
        if any(self._waiting[place, item] for item in better):
            self.inversions += 1


@contextmanager
def _collector_as_in_the_gateway() -> Iterator[None]:
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
