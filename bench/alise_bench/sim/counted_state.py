"""What the counted engine knows of one request, and the order in which requests wait.

Pure data. A waiting or prefilling request carries its numbers itself; of a decoding one only
differences to the engine's tick are kept (``counted_decode``).
"""

import heapq
from dataclasses import dataclass
from enum import Enum, StrEnum

from alise_core.units import Seconds

Order = tuple[int, float, int]
"""A place in a queue; smaller is earlier, and no two are equal."""


@dataclass(frozen=True, slots=True)
class CountedRequest:
    """One output to generate, reduced to its counts.

    Attributes:
        number: Unique in the engine while the request is in it.
        prompt_tokens: At least one.
        output_tokens: Tokens to generate before finishing, >= 1. Known to the simulator only.
        priority: Smaller is earlier; used under the priority policy.
    """

    number: int
    prompt_tokens: int
    output_tokens: int
    priority: int = 0


class EventKind(StrEnum):
    """What happened to a request."""

    PREEMPTED = "preempted"
    FIRST_TOKEN = "first_token"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a request, and exactly when.

    Attributes:
        kind: What; a request of one token has its first token and its finish at one time.
        number: Whose.
        time: Virtual seconds; a preemption happens at the start of a step, the others at its end.
        preemptions: How often this request has been preempted so far.
    """

    kind: EventKind
    number: int
    time: Seconds
    preemptions: int


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What an engine's metrics would show at one moment.

    Attributes:
        running: Requests that hold a place in the batch.
        waiting: Requests without one, the preempted included.
        free_blocks: KV blocks that no request holds.
        usage_ratio: Share of the usable blocks that requests hold, in [0, 1].
        preemptions: Since the start, counted when they happen.
        reported_preemptions: Those whose victim has produced a token since, which is when vLLM
            counts them; victims that are aborted first are never counted.
    """

    running: int
    waiting: int
    free_blocks: int
    usage_ratio: float
    preemptions: int
    reported_preemptions: int


class Stage(Enum):
    """Where a request is in the engine."""

    WAITING = 0
    PREFILL = 1
    DECODE = 2
    GONE = 3


@dataclass(slots=True, eq=False)
class CountedRun:
    """A request with its progress; owned by the engine."""

    item: CountedRequest
    order: Order
    """(priority, arrival, submission): who yields under the priority policy."""
    length: int
    """Tokens to compute before the next one comes: prompt and what was generated."""
    stage: Stage = Stage.WAITING
    place: int = 0
    """Admission number: smaller stands earlier in the batch."""
    computed: int = 0
    """While prefilling: tokens whose KV is in blocks."""
    blocks: int = 0
    """While prefilling: blocks held."""
    offset: int = 0
    """While decoding: the tick less the tokens computed by its end."""
    finish_tick: int = 0
    """While decoding: when the last token comes; 0 otherwise."""
    preemptions: int = 0
    unreported_preemptions: int = 0


class CountedQueue:
    """Waiting requests by a key, smaller first; who left it elsewhere is dropped on sight."""

    def __init__(self) -> None:
        self._heap: list[tuple[Order, CountedRun]] = []

    def push(self, key: Order, run: CountedRun) -> None:
        """Add a waiting request."""
        heapq.heappush(self._heap, (key, run))

    def peek(self) -> CountedRun | None:
        """Next to run; ``None`` when nobody waits."""
        heap = self._heap
        while heap:
            run = heap[0][1]
            if run.stage is Stage.WAITING:
                return run
            heapq.heappop(heap)
        return None

    def pop(self) -> None:
        """Remove the one that :meth:`peek` returned."""
        heapq.heappop(self._heap)
