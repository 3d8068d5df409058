"""Several real gateways in front of simulated engines, on loopback sockets, in one event loop.

Everything is what runs in production but for the engines and the watcher of peers: shares are told
to the gateways directly. One loop, so that what all gateways have in flight is read at one moment.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from alise_bench.demo.workload import Limits, SamplePrompt, chat_body, choose, read_sample
from alise_bench.load.loops import OpenLoop, run_open
from alise_bench.load.request import Address, LoadRequest, post
from alise_bench.load.result import RequestResult
from alise_bench.replicas.scenarios import Case
from alise_bench.replicas.watch import Watch
from alise_bench.sim.config import DEFAULT_MODEL, EngineConfig
from alise_bench.sim.lengths import Lengths, ReplayTable, conversation_key
from alise_bench.sim.server import EngineServer
from alise_bench.sim.step_model import A100
from alise_core.clock import MonotonicClock
from alise_gateway.app import Gateway
from alise_gateway.settings import GatewaySettings

MAX_IN_FLIGHT = 16
"""Of one engine: so few that a small machine can saturate them."""
ENGINES = 2
RATE = 4.5
"""Requests a second, of all together: somewhat less than what the engines can do."""
_SPEED = 0.25
"""Of the engines: steps of some 50 ms, so that a machine with other work can keep up with them."""
NOTICE_SECONDS = 2.0
"""After a replica has died, the others are told."""
_LOOK_SECONDS = 0.02
_DRAIN_SECONDS = 30.0
_LIMITS = Limits(prompt_chars=4_000, output_tokens=200)
_PATH = "/v1/chat/completions"


@dataclass
class RealRun:
    """What came of it.

    Attributes:
        watch: Of the engines.
        results: Of all requests.
        late_seconds: The longest time by which a look at the engines was late: the loop was busy.
    """

    watch: Watch = field(default_factory=lambda: Watch(ENGINES))
    results: list[RequestResult] = field(default_factory=list)
    late_seconds: float = 0.0

    @property
    def completed(self) -> list[RequestResult]:
        """Those with a whole answer."""
        return [item for item in self.results if item.error is None]


@dataclass(frozen=True, slots=True)
class _Planned:
    offset: float
    row: SamplePrompt


async def serve(case: Case, seconds: float, seed: int) -> RealRun:
    """Run one case in real time."""
    run = RealRun()
    plans = _plan(case, seconds, seed)
    async with contextlib.AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(_engine(plans)) for _ in range(ENGINES)]
        gateways = [
            await stack.enter_async_context(_gateway(engines)) for _ in range(len(case.weights))
        ]
        alive = list(gateways)
        _share_out(alive)
        watching = asyncio.create_task(_watch(run, engines, alive))
        killing = asyncio.create_task(_kill(gateways[0], alive, seconds / 2)) if case.dies else None
        sent = [_send(gateway, plan) for gateway, plan in zip(gateways, plans, strict=True)]
        for results in await asyncio.gather(*sent):
            run.results += results
        for task in filter(None, (watching, killing)):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return run


def _plan(case: Case, seconds: float, seed: int) -> list[list[_Planned]]:
    """For each gateway, what it is sent when; the load of one that dies goes to the others."""
    generator = random.Random(seed)  # noqa: S311
    rows = choose(read_sample(), int(RATE * seconds * 2), seed, _LIMITS)
    plans: list[list[_Planned]] = [[] for _ in case.weights]
    now = generator.expovariate(RATE)
    for row in rows:
        if now > seconds:
            break
        first = 1 if case.dies and now > seconds / 2 else 0
        choices = range(first, len(case.weights))
        chosen = generator.choices(choices, case.weights[first:])[0]
        plans[chosen].append(_Planned(now, row))
        now += generator.expovariate(RATE)
    return plans


@contextlib.asynccontextmanager
async def _engine(plans: Sequence[Sequence[_Planned]]) -> AsyncIterator[EngineServer]:
    table = ReplayTable()
    for plan in plans:
        for item in plan:
            table.add(conversation_key([("user", item.row.prompt)]), item.row.output_tokens)
    config = EngineConfig(
        profile=A100, speed=_SPEED, max_num_seqs=MAX_IN_FLIGHT, lengths=Lengths(table)
    )
    server = EngineServer(config)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def _gateway(engines: Sequence[EngineServer]) -> AsyncIterator[Gateway]:
    settings = GatewaySettings.model_validate(
        {
            "host": "127.0.0.1",
            "port": 0,
            "backends": [{"url": engine.url} for engine in engines],
            "identity": {"allow_anonymous": True},
            "predictor": {"enabled": False},
            "queue": {"max_in_flight_per_backend": MAX_IN_FLIGHT, "ttl_seconds": 600},
        }
    )
    gateway = Gateway(settings, None)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop(0.0)


def _share_out(alive: Sequence[Gateway]) -> None:
    for index, gateway in enumerate(alive):
        gateway.set_share(index, len(alive))


async def _kill(gateway: Gateway, alive: list[Gateway], after_seconds: float) -> None:
    """It drops everything at once, as a killed process does; the others learn of it later."""
    await asyncio.sleep(after_seconds)
    alive.remove(gateway)
    gateway.pipeline.abort()
    await asyncio.sleep(NOTICE_SECONDS)
    _share_out(alive)


async def _send(gateway: Gateway, plan: Sequence[_Planned]) -> list[RequestResult]:
    address = Address("127.0.0.1", gateway.port)

    def make(number: int) -> LoadRequest:
        body = chat_body(plan[number].row, DEFAULT_MODEL)
        headers = {"content-type": "application/json"}
        return LoadRequest(post(address, _PATH, body, headers), streamed=True)

    loop = OpenLoop([item.offset for item in plan], _DRAIN_SECONDS)
    return list((await run_open(address, make, loop, MonotonicClock().now)).results)


async def _watch(run: RealRun, engines: Sequence[EngineServer], alive: list[Gateway]) -> None:
    clock = MonotonicClock()
    before = clock.now()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = clock.now()
        run.late_seconds = max(run.late_seconds, now - before - _LOOK_SECONDS)
        before = now
        waiting = any(gateway.queue.waiting for gateway in alive)
        for number, engine in enumerate(engines):
            seen = [
                backend
                for gateway in alive
                for backend in gateway.registry.backends
                if backend.address.port == engine.port
            ]
            booked = sum(it.admission.ledger.booked(now) for it in seen)
            capacity = max(it.admission.capacity_tokens or 1 for it in seen)
            run.watch.note(
                number,
                now,
                in_flight=sum(it.in_flight for it in seen) / MAX_IN_FLIGHT,
                allowed=1.0,
                booked=booked / capacity,
                waiting=waiting,
            )
