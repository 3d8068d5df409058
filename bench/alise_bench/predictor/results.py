"""The result file of ``alise bench predictor``: what was timed, of which bundle, and where."""

from enum import StrEnum

import msgspec

VERSION = 1
_MICRO = 1e6


class Call(StrEnum):
    """What is called."""

    TIER0 = "tier 0"
    """Features and tier 0: what every request pays on arrival."""
    TIER1 = "tier 1"
    """Refining alone: what a waiting request pays, on a thread."""
    CORRECT = "correct"
    """Applying what was learned."""
    OBSERVE = "observe"
    """Learning from one finished answer."""


class ClockKind(StrEnum):
    """What a call's time is read from."""

    WALL = "wall"
    CPU = "cpu"
    """CPU time of the calling thread, which other work on the machine does not lengthen."""


class Conditions(msgspec.Struct, frozen=True):
    """What the figures hold for.

    Attributes:
        cpu: The only CPU that was used.
        wait_share: Time that this process waited for its CPU, share of the wall time.
        rounds: Repetitions of everything.
        calls: Of tier 0, per row and round.
    """

    started: str
    cpu_model: str
    cpus: int
    kernel: str
    python: str
    libraries: dict[str, str]
    cpu: int
    load_average_before: float
    load_average_after: float
    wait_share: float
    rounds: int
    calls: int


class BundleFacts(msgspec.Struct, frozen=True):
    """The predictor that was measured.

    Attributes:
        files: Name and bytes of each file.
        tier1_pieces: Word pieces that tier 1 looks at, at most; ``None`` without a tier 1.
    """

    name: str
    version: str
    files: dict[str, int]
    tier1_pieces: int | None


class Row(msgspec.Struct, frozen=True):
    """One kind of call in one round, by one clock.

    Attributes:
        subject: The prompt's size, or whose prediction is corrected.
        calls: How often it was called.
        per_second: Calls through the sum of their times.
    """

    round: int
    call: Call
    subject: str
    clock: ClockKind
    calls: int
    p50_us: float
    p99_us: float
    per_second: float

    @classmethod
    def of(  # noqa: PLR0913  one row has this many sides
        cls,
        place: tuple[int, ClockKind],
        call: Call,
        subject: str,
        *,
        calls: int,
        p50_seconds: float,
        p99_seconds: float,
        per_second: float,
    ) -> "Row":
        """A row of round and clock ``place``, from seconds."""
        number, clock = place
        micro = (p50_seconds * _MICRO, p99_seconds * _MICRO)
        return cls(number, call, subject, clock, calls, *micro, per_second)


class MemoryAdded(msgspec.Struct, frozen=True):
    """Resident memory, bytes; ``None`` where it is not known.

    Attributes:
        tier0: Added by NumPy, ONNX Runtime and tier 0.
        tier1: Added by tier 1 on top.
    """

    tier0: int | None
    tier1: int | None


class Results(msgspec.Struct, frozen=True):
    """Everything of one measurement."""

    conditions: Conditions
    bundle: BundleFacts
    rows: list[Row]
    memory: MemoryAdded
    version: int = VERSION


def decode(data: bytes) -> Results:
    """Read a result file.

    Raises:
        ValueError: It is not one.
    """
    try:
        return msgspec.json.decode(data, type=Results)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a result file of 'alise bench predictor': {error}") from error
