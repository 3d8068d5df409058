"""One scenario against one running server: load it, and read what the server used for it."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alise_bench.load.distribution import Summary, summarize
from alise_bench.load.loops import ClosedLoop, OpenLoop, run_closed, run_open
from alise_bench.load.request import Address, LoadRequest, post
from alise_bench.load.result import ErrorKind, LoadRun, RequestResult
from alise_bench.overhead.mock import MockEngine
from alise_bench.overhead.procfs import TreeUsage, cpu_between, read_tree, rss_bytes, tree_pids
from alise_bench.overhead.results import Row
from alise_bench.overhead.scenarios import Scenario, Shape, chat_body

_PATH = "/v1/chat/completions"
_SAMPLE_SECONDS = 0.1
_WARM_UP_SECONDS = 1.0
_WARM_UP_REQUESTS = 200
# Replies that a proxy writes anew vary in the length of ids and times, not by more than this.
_LENGTH_TOLERANCE = 0.05
_BESIDE_PER_SECOND = 50
_MS = 1_000.0

NOTHING = TreeUsage(0.0, 0.0, 0.0, 0, 0)


@dataclass(frozen=True, slots=True)
class Subject:
    """The server under test.

    Attributes:
        name: The target's.
        address: Where it listens.
        headers: What its clients send.
        pid: Root of its process tree; ``None`` for the mock backend itself.
        reply_bytes: Length of its right JSON reply, as verified.
    """

    name: str
    address: Address
    headers: Mapping[str, str]
    pid: int | None
    reply_bytes: int

    def usage(self) -> TreeUsage:
        """What its process tree has used so far."""
        return NOTHING if self.pid is None else read_tree(self.pid)


@dataclass(slots=True)
class _Memory:
    before: int = 0
    peak: int = 0


async def measure(
    subject: Subject, scenario: Scenario, mocks: Sequence[MockEngine], round_number: int
) -> Row:
    """Run one scenario.

    Args:
        subject: The server under test.
        scenario: The load.
        mocks: Its backends, which this sets to the scenario's interval.
        round_number: Goes into the row.
    """
    request = _request(subject, scenario)
    await _warm_up(subject, request, mocks)
    for mock in mocks:
        mock.interval_seconds = scenario.interval_seconds
    memory = _Memory()
    sampler = asyncio.create_task(_sample(subject.pid, memory))
    before, own_before = subject.usage(), time.process_time()
    run, beside = await _load(subject, scenario, request)
    after, own_after = subject.usage(), time.process_time()
    sampler.cancel()
    await asyncio.gather(sampler, return_exceptions=True)
    right, errors = _check(run.results, subject, scenario)
    if beside is not None:
        errors += Counter({f"beside_{kind}": number for kind, number in beside.errors().items()})
    return Row(
        round=round_number,
        target=subject.name,
        scenario=scenario.name,
        requests=len(run.results),
        completed=len(right),
        errors=dict(errors),
        wall_seconds=run.wall_seconds,
        cpu_seconds=cpu_between(before, after),
        wait_seconds=after.wait_seconds - before.wait_seconds,
        load_cpu_seconds=own_after - own_before,
        ttfb_ms=summarize(result.ttfb * _MS for result in right),
        total_ms=summarize(result.total * _MS for result in right),
        events=sum(result.events for result in right),
        lateness_ms=run.lateness_seconds * _MS,
        rss_before=memory.before,
        rss_peak=memory.peak,
        load_average=os.getloadavg()[0],
        beside_ttfb_ms=_ttfb(beside),
    )


def _request(subject: Subject, scenario: Scenario) -> LoadRequest:
    wire = post(subject.address, _PATH, chat_body(scenario), subject.headers)
    return LoadRequest(wire, streamed=scenario.streamed)


async def _warm_up(subject: Subject, request: LoadRequest, mocks: Sequence[MockEngine]) -> None:
    for mock in mocks:
        mock.interval_seconds = 0.0
    plan = ClosedLoop(4, _WARM_UP_REQUESTS, _WARM_UP_SECONDS)
    if request.streamed:
        plan = ClosedLoop(4, 8, _WARM_UP_SECONDS)
    await run_closed(subject.address, lambda _: request, plan, time.monotonic)


async def _load(
    subject: Subject, scenario: Scenario, request: LoadRequest
) -> tuple[LoadRun, LoadRun | None]:
    if scenario.shape is Shape.CLOSED:
        plan = ClosedLoop(
            scenario.concurrency,
            scenario.count,
            scenario.issue_seconds,
            scenario.drain_seconds,
            scenario.ramp_seconds,
        )
        return await run_closed(subject.address, lambda _: request, plan, time.monotonic), None
    step = scenario.ramp_seconds / scenario.count
    streams = OpenLoop([number * step for number in range(scenario.count)], scenario.drain_seconds)
    crowd, beside = await asyncio.gather(
        run_open(subject.address, lambda _: request, streams, time.monotonic),
        _beside(subject, scenario),
    )
    return crowd, beside


async def _beside(subject: Subject, scenario: Scenario) -> LoadRun:
    """New short requests while the whole crowd streams."""
    body = b'{"model":"mock","messages":[{"role":"user","content":"Hello"}]}'
    request = LoadRequest(post(subject.address, _PATH, body, subject.headers))
    stream_seconds = scenario.events * scenario.interval_seconds
    begin = scenario.ramp_seconds
    number = int((stream_seconds - begin) * _BESIDE_PER_SECOND)
    offsets = [begin + position / _BESIDE_PER_SECOND for position in range(number)]
    return await run_open(subject.address, lambda _: request, OpenLoop(offsets), time.monotonic)


async def _sample(pid: int | None, memory: _Memory) -> None:
    if pid is None:
        return
    pids = tree_pids(pid)
    memory.before = memory.peak = rss_bytes(pids)
    while True:
        await asyncio.sleep(_SAMPLE_SECONDS)
        memory.peak = max(memory.peak, rss_bytes(pids))


def _check(
    results: Sequence[RequestResult], subject: Subject, scenario: Scenario
) -> tuple[list[RequestResult], Counter[str]]:
    right: list[RequestResult] = []
    errors: Counter[str] = Counter()
    for result in results:
        if result.error is not None:
            errors[result.error.value] += 1
        elif _is_right(result, subject, scenario):
            right.append(result)
        else:
            errors[ErrorKind.WRONG_REPLY.value] += 1
    return right, errors


def _is_right(result: RequestResult, subject: Subject, scenario: Scenario) -> bool:
    if scenario.streamed:
        return result.events == scenario.stream_events
    return abs(result.body_bytes - subject.reply_bytes) <= _LENGTH_TOLERANCE * subject.reply_bytes


def _ttfb(run: LoadRun | None) -> Summary | None:
    if run is None:
        return None
    return summarize(result.ttfb * _MS for result in run.completed())
