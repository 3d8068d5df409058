"""Rounds over targets and scenarios: one server at a time, fresh in every round, order shuffled.

Comes in: which targets and scenarios, how often. Goes out: ``Results``. A target that is missing
or breaks is noted and the run goes on without it.
"""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from alise_bench.load.request import Address
from alise_bench.overhead.conditions import bundle_name, read_conditions, target_version
from alise_bench.overhead.measure import Subject, measure
from alise_bench.overhead.mock import MockEngine
from alise_bench.overhead.procfs import peak_rss_bytes, rss_bytes, tree_pids
from alise_bench.overhead.results import Memory, Results, Row, TargetInfo
from alise_bench.overhead.scenarios import Scenario
from alise_bench.overhead.targets import Launch, Place, Target
from alise_bench.overhead.verify import WrongReply, verified_reply_bytes
from alise_bench.processes import (
    Child,
    ChildFailed,
    alise_command,
    free_port,
    running,
    wait_until,
)

_START_SECONDS = 60.0
_SETTLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        targets: Servers; those that are not installed are noted as missing.
        scenarios: Loads, in this order in every round.
        repeats: Rounds.
        seed: Of the order of targets.
        quick: Marked in the result: the figures are a first look.
        peers: The peers' virtual environment.
        bundle: The predictor to measure; ``None`` for the one that comes with the gateway.
    """

    targets: Sequence[Target]
    scenarios: Sequence[Scenario]
    repeats: int
    seed: int
    quick: bool
    peers: Path
    bundle: Path | None = None


@dataclass(slots=True)
class _State:
    """What a run has gathered so far."""

    mocks: list[MockEngine]
    folder: Path
    say: Callable[[str], None]
    proxy_cpu: int | None
    rows: list[Row] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    commands: dict[str, list[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def missing_reason(target: Target, peers: Path, bundle: Path | None = None) -> str:
    """Why a target cannot be started; empty when it can."""
    if target.predicts and bundle_name(bundle) is None:
        return "no usable predictor bundle; 'alise predictor inspect' says why"
    if not target.program or (peers / "bin" / target.program).exists():
        return ""
    if target.program == "haproxy":
        return "" if shutil.which("haproxy") else "haproxy is not on PATH"
    return f"not in {peers}: run 'alise bench overhead --install-peers'"


def readable_command(command: Sequence[str]) -> list[str]:
    """A command line without the folders of this machine, and ours by its name."""
    ours = alise_command()
    words = list(command)
    if words[: len(ours)] == ours:
        words = ["alise", *words[len(ours) :]]
    return [Path(word).name if word.startswith("/") else word for word in words]


async def run_plan(plan: Plan, say: Callable[[str], None]) -> Results:
    """Measure everything; must run with nothing else on the event loop.

    Args:
        plan: What to measure.
        say: Takes a line of progress.
    """
    missing = {
        target.name: missing_reason(target, plan.peers, plan.bundle) for target in plan.targets
    }
    present = [target for target in plan.targets if not missing[target.name]]
    mocks = [MockEngine(), MockEngine()]
    for mock in mocks:
        await mock.start()
    with _pinned() as (load_cpu, proxy_cpu), tempfile.TemporaryDirectory() as folder:
        conditions = read_conditions(
            proxy_cpu, load_cpu, repeats=plan.repeats, seed=plan.seed, quick=plan.quick
        )
        state = _State(mocks, Path(folder), say, proxy_cpu)
        for number in range(1, plan.repeats + 1):
            order = random.Random(f"{plan.seed}/{number}").sample(present, len(present))  # noqa: S311
            for target in order:
                await _measure_target(plan, state, target, number)
    for mock in mocks:
        await mock.stop()
    conditions = msgspec.structs.replace(conditions, load_average_after=os.getloadavg()[0])
    infos = [
        TargetInfo(
            name=target.name,
            version=target_version(target, plan.peers, plan.bundle),
            command=state.commands.get(target.name, []),
            note=target.note,
            missing=missing[target.name],
        )
        for target in plan.targets
    ]
    return Results(conditions, infos, state.rows, state.memory, state.failures)


@contextmanager
def _pinned() -> Iterator[tuple[int, int | None]]:
    """Keep this process on one CPU and leave another one to the proxy."""
    before = os.sched_getaffinity(0)
    cpus = sorted(before)
    os.sched_setaffinity(0, {cpus[0]})
    try:
        yield cpus[0], cpus[1] if len(cpus) > 1 else None
    finally:
        os.sched_setaffinity(0, before)


async def _measure_target(plan: Plan, state: _State, target: Target, number: int) -> None:
    scenarios = [item for item in plan.scenarios if item.name not in target.skips]
    state.say(f"round {number}/{plan.repeats}: {target.name}")
    try:
        if target.launch is None:
            address = Address.parse(state.mocks[0].url)
            reply_bytes = await asyncio.to_thread(verified_reply_bytes, address, {})
            subject = Subject(target.name, address, {}, None, reply_bytes)
            await _measure_scenarios(state, subject, scenarios, number)
        else:
            await _start_and_measure(plan, state, target, scenarios, number)
    except (ChildFailed, WrongReply, OSError) as error:
        state.failures.append(f"round {number}, {target.name}: {error}")
        state.say(f"  {target.name} failed: {error}")


async def _start_and_measure(
    plan: Plan, state: _State, target: Target, scenarios: Sequence[Scenario], number: int
) -> None:
    if target.launch is None:
        raise ValueError(f"{target.name} is not started")
    folder = state.folder / f"{number}-{target.name}"
    folder.mkdir()
    backends = (state.mocks[0].url, state.mocks[1].url)
    place = Place(backends, free_port(), free_port(), folder, plan.peers, plan.bundle)
    launch = target.launch(place)
    state.commands[target.name] = readable_command(launch.command)
    cpus = None if state.proxy_cpu is None else {state.proxy_cpu}
    with running(target.name, launch.command, folder, cpus=cpus) as child:
        address = Address("127.0.0.1", place.port)
        reply_bytes = await asyncio.to_thread(_await_right_reply, child, address, launch)
        await asyncio.sleep(_SETTLE_SECONDS)
        pids = tree_pids(child.pid)
        idle = rss_bytes(pids)
        subject = Subject(target.name, address, launch.headers, child.pid, reply_bytes)
        await _measure_scenarios(state, subject, scenarios, number)
        child.check_alive()
        peak = peak_rss_bytes(tree_pids(child.pid))
        state.memory.append(Memory(number, target.name, idle, peak))


async def _measure_scenarios(
    state: _State, subject: Subject, scenarios: Sequence[Scenario], number: int
) -> None:
    for scenario in scenarios:
        row = await measure(subject, scenario, state.mocks, number)
        state.rows.append(row)
        errors = f", errors {row.errors}" if row.errors else ""
        cpu = row.cpu_seconds / max(row.completed, 1) * 1e6
        p50 = row.ttfb_ms.p50 if row.ttfb_ms else float("nan")
        state.say(
            f"  {scenario.name:8} {row.completed:6} done in {row.wall_seconds:6.2f} s, "
            f"{cpu:8.1f} CPU us each, TTFB p50 {p50:8.3f} ms{errors}"
        )


def _await_right_reply(child: Child, address: Address, launch: Launch) -> int:
    """Wait until a fresh proxy knows its backends and relays rightly."""
    lengths: list[int] = []
    last: list[Exception] = []

    def ready() -> bool:
        try:
            lengths.append(verified_reply_bytes(address, launch.headers))
        except (WrongReply, OSError) as error:
            last[:] = [error]
            return False
        return True

    try:
        wait_until(ready, child, _START_SECONDS, "give a right reply")
    except ChildFailed as error:
        raise ChildFailed(f"{error}\nlast reply: {last[0] if last else None}") from error
    return lengths[-1]
