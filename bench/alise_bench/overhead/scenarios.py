"""What is measured: a closed set of loads, each the same for every target."""

from dataclasses import dataclass, replace
from enum import StrEnum

from alise_bench.overhead.mock import DEFAULT_EVENTS, MODEL

_KIB = 1_024


class Shape(StrEnum):
    """How a scenario loads its target."""

    CLOSED = "closed"
    """A fixed number of clients, each sends again when its reply has ended."""
    CROWD = "crowd"
    """All streams run at once, and new requests arrive beside them."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load.

    Attributes:
        name: On the command line and in result files.
        title: For tables.
        body_bytes: Size of the request's JSON.
        concurrency: Clients; for a crowd, streams.
        count: Requests in all.
        issue_seconds: No request starts later.
        streamed: Replies are streams of ``events`` chunks.
        interval_seconds: Between two chunks of one stream.
        ramp_seconds: The clients start evenly over this time.
        drain_seconds: How long the last requests may take.
    """

    name: str
    title: str
    shape: Shape
    body_bytes: int
    concurrency: int
    count: int
    issue_seconds: float
    streamed: bool = False
    events: int = DEFAULT_EVENTS
    interval_seconds: float = 0.0
    ramp_seconds: float = 0.0
    drain_seconds: float = 60.0

    @property
    def stream_events(self) -> int:
        """Server-sent events of a right reply: the chunks and ``[DONE]``; 0 without streaming."""
        return self.events + 1 if self.streamed else 0


# Crowd first: the memory of 1,000 streams shows only in a process that has not seen them yet.
SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        name="s1000",
        title="1,000 concurrent streams, 128 chunks, 50 ms apart",
        shape=Shape.CROWD,
        body_bytes=_KIB,
        concurrency=1_000,
        count=1_000,
        issue_seconds=2.0,
        streamed=True,
        interval_seconds=0.05,
        ramp_seconds=2.0,
    ),
    Scenario("c1_1k", "1 client, 1 KiB", Shape.CLOSED, _KIB, 1, 2_000, 1.0),
    Scenario("c1_64k", "1 client, 64 KiB", Shape.CLOSED, 64 * _KIB, 1, 1_500, 1.0),
    Scenario("c64_1k", "64 clients, 1 KiB", Shape.CLOSED, _KIB, 64, 12_000, 1.5),
    Scenario("c64_64k", "64 clients, 64 KiB", Shape.CLOSED, 64 * _KIB, 64, 5_000, 1.5),
    Scenario(
        "s64", "64 streams, 128 chunks, no delay", Shape.CLOSED, _KIB, 64, 512, 2.0, streamed=True
    ),
    Scenario(
        name="s256",
        title="256 streams, 128 chunks, 5 ms apart",
        shape=Shape.CLOSED,
        body_bytes=_KIB,
        concurrency=256,
        count=1_024,
        issue_seconds=4.0,
        streamed=True,
        interval_seconds=0.005,
        ramp_seconds=0.64,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
QUICK = ("c1_1k", "c64_1k", "s256")


def shortened(scenario: Scenario) -> Scenario:
    """The same load for a third of the time, for a first look."""
    return replace(
        scenario,
        count=max(scenario.concurrency, scenario.count // 3),
        issue_seconds=scenario.issue_seconds / 2,
    )


def chat_body(scenario: Scenario) -> bytes:
    """The JSON of a scenario's request, of exactly ``body_bytes``."""
    head = b'{"model":"%b","max_tokens":%d%b,"messages":[{"role":"user","content":"' % (
        MODEL.encode(),
        scenario.events,
        b',"stream":true' if scenario.streamed else b"",
    )
    tail = b'"}]}'
    filler = b"The quick brown fox jumps over the lazy dog. "
    room = scenario.body_bytes - len(head) - len(tail)
    return head + (filler * (room // len(filler) + 1))[:room] + tail
