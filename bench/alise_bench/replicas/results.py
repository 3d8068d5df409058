"""The result file of ``alise bench replicas``."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from alise_bench.compare.simulation import SCRAPE_SECONDS
from alise_bench.load.distribution import percentile
from alise_bench.replicas.real import RealRun
from alise_bench.replicas.virtual import World
from alise_bench.replicas.watch import Watch

MOST_OVER = 0.05
"""No backend may have more requests than it is allowed, or more memory booked than one gateway
books, by more than this part."""
MOST_IDLE_SECONDS = 1.0
MOST_LATE_SECONDS = 0.25
"""A gateway that is kept from running for longer than this acts on figures that are too old."""


class Conditions(msgspec.Struct, frozen=True):
    """What the figures hold for.

    Attributes:
        load_average: Before and after; what is in virtual time does not depend on it.
        seconds: Of each run in virtual time.
        real_seconds: Of each run in real time; 0 for none.
        seeds: Runs of each case in virtual time.
        look_seconds: Between two looks at an engine's figures, in virtual time.
    """

    started: str
    cpu_model: str
    cpus: int
    python: str
    load_average: list[float]
    seconds: float
    real_seconds: float
    seeds: int
    look_seconds: float = SCRAPE_SECONDS


class Row(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        place: Engines, and whether time was real.
        case: Which gateways.
        seed: Of its requests.
        requests: Sent.
        answered: With at least a first token, or with a whole answer in real time.
        lost: With the gateway that was killed.
        in_flight: Most of any engine at any moment, as part of what is allowed.
        booked: Most KV memory booked of any engine at any moment, as part of its capacity.
        idle_seconds: For which an engine had nothing while a request waited at some gateway.
        spare_seconds: For which it had more than 15 % of both to spare meanwhile.
        ttft_mean_seconds: From arrival to first token.
        ttft_p99_seconds: The same.
        preemptions: By engines; ``None`` where that is not known.
        late_seconds: By which the watching loop was late at most; 0 in virtual time.
    """

    place: str
    case: str
    seed: int
    requests: int
    answered: int
    lost: int
    in_flight: float
    booked: float
    idle_seconds: float
    spare_seconds: float
    ttft_mean_seconds: float
    ttft_p99_seconds: float
    preemptions: int | None
    late_seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        """The machine kept up with what was run on it."""
        return self.late_seconds <= MOST_LATE_SECONDS


class Results(msgspec.Struct, frozen=True):
    """Everything of one measurement."""

    conditions: Conditions
    rows: list[Row]


def row_of_world(place: str, case: str, seed: int, world: World) -> Row:
    """What a run in virtual time showed."""
    waits = [item.first_token - item.arrival for item in world.asked if item.first_token]
    return Row(
        requests=len(world.asked),
        answered=len(waits),
        lost=sum(item.lost for item in world.asked),
        preemptions=sum(pod.engine.preemptions for pod in world.pods),
        **_seen(place, case, seed, world.watch, waits),
    )


def row_of_real(place: str, case: str, seed: int, run: RealRun) -> Row:
    """What a run in real time showed."""
    completed = run.completed
    return Row(
        requests=len(run.results),
        answered=len(completed),
        lost=len(run.results) - len(completed),
        preemptions=None,
        late_seconds=run.late_seconds,
        **_seen(place, case, seed, run.watch, [item.ttfb for item in completed]),
    )


def _seen(place: str, case: str, seed: int, watch: Watch, waits: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(waits)
    return {
        "place": place,
        "case": case,
        "seed": seed,
        "in_flight": watch.most_in_flight,
        "booked": watch.most_booked,
        "idle_seconds": watch.longest_idle,
        "spare_seconds": watch.longest_spare,
        "ttft_mean_seconds": sum(ordered) / max(1, len(ordered)),
        "ttft_p99_seconds": percentile(ordered, 0.99) if ordered else 0.0,
    }


def decode(data: bytes) -> Results:
    """Read a result file.

    Raises:
        ValueError: It is not one.
    """
    try:
        return msgspec.json.decode(data, type=Results)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a result file of 'alise bench replicas': {error}") from error


def groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that differ in their seed only, in the order of the file."""
    for key in dict.fromkeys((row.place, row.case) for row in rows):
        yield [row for row in rows if (row.place, row.case) == key]


def booked_alone(results: Results, row: Row) -> float:
    """What one gateway booked at most with the same requests; never less than the capacity."""
    alone = [
        other.booked
        for other in results.rows
        if (other.place, other.seed) == (row.place, row.seed) and other.case == "one gateway"
    ]
    return max([1.0, *alone])


def over(results: Results, row: Row) -> float:
    """The larger excess of a run, of requests and of memory; 0 for none."""
    return max(0.0, row.in_flight - 1.0, row.booked / booked_alone(results, row) - 1.0)
