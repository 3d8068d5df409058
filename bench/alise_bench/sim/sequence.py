"""One request inside the simulated engine: what it asks for, and how far it is.

Pure data. ``SequenceRequest`` never changes; ``Sequence`` is the scheduler's mutable state for
it, with the marks from which vLLM's latency histograms are computed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from alise_core.units import Seconds


class FinishReason(StrEnum):
    """Why an output ended; the value is vLLM's ``finished_reason`` label."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"


class Status(StrEnum):
    """Where a sequence is."""

    WAITING = "waiting"
    PREEMPTED = "preempted"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class SequenceRequest:
    """One output to generate.

    Attributes:
        request_id: Unique in the engine.
        prompt: Token ids; at least one.
        output_tokens: Tokens to generate before finishing, >= 1. Known to the simulator only.
        finish: Why it ends there.
        priority: Smaller is earlier; used under the priority policy.
        sample: Token id at an output position; must be a function of the position alone, so
            that recomputation after a preemption continues the same text.
    """

    request_id: str
    prompt: tuple[int, ...]
    output_tokens: int
    finish: FinishReason = FinishReason.LENGTH
    priority: int = 0
    sample: Callable[[int], int] = field(default=int, repr=False)


@dataclass(slots=True, eq=False)
class Sequence:
    """A request with its progress, KV blocks and marks; owned by the scheduler."""

    request: SequenceRequest
    arrival: Seconds
    number: int
    """Submission number: breaks ties of equal arrival."""
    tokens: list[int] = field(default_factory=list)
    """Prompt followed by what has been generated."""
    hashes: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    """Tokens whose KV is in ``blocks``."""
    registered: int = 0
    """Leading blocks already offered to the prefix cache."""
    status: Status = Status.WAITING
    cached_tokens: int = 0
    """Prompt tokens found in the prefix cache at first admission."""
    preemptions: int = 0
    unreported_preemptions: int = 0
    first_scheduled: Seconds | None = None
    first_token: Seconds | None = None
    last_token: Seconds | None = None

    def __post_init__(self) -> None:
        if not self.tokens:
            self.tokens = list(self.request.prompt)

    @property
    def order(self) -> tuple[int, float, int]:
        """(priority, arrival, number): smaller is earlier; unique."""
        return (self.request.priority, self.arrival, self.number)

    @property
    def generated(self) -> int:
        """Output tokens so far."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.status is Status.FINISHED
