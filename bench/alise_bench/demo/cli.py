"""``alise demo``: a bursty load on two engines, through two gateways, side by side.

First a gateway that serves who came first, then one as it ships: the same requests at the same
times, on the same engines.
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alise_bench.demo.lengths import LengthOutcome, judge_lengths, read_requests
from alise_bench.demo.outcome import DemoOutcome, evaluate
from alise_bench.demo.servers import (
    Engines,
    Stack,
    running_simulators,
    running_stack,
    running_vllm,
)
from alise_bench.demo.view import length_table, outcome_table
from alise_bench.demo.workload import (
    Limits,
    SamplePrompt,
    bursty_arrivals,
    chat_body,
    choose,
    read_sample,
)
from alise_bench.load.loops import OpenLoop, run_open
from alise_bench.load.request import LoadRequest, post
from alise_bench.load.result import RequestResult
from alise_bench.processes import ChildFailed, interrupted_by_signals
from alise_bench.vllm.place import VllmPlace, parse_vllm
from alise_core.errors import ConfigError
from alise_core.policy import OrderingName, SchedulingPolicy

_ORDERINGS = (OrderingName.FCFS, SchedulingPolicy().ordering.name)
_CV = 2.5
"""Burstiness: well above Poisson's 1, in the range that production traces show."""
_SAMPLE_SECONDS = 0.25
_DRAIN_SECONDS = 120.0
_LOG_SECONDS = 5.0
"""The last log lines are waited for this long."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much load two engines of one kind take with a queue at times and not for good.

    Attributes:
        rate: Requests per second.
        in_flight: Requests that one engine runs at a time.
        limits: Which prompts it can take.
    """

    rate: float
    in_flight: int
    limits: Limits


# 16 sequences at about 12 ms a step and 278 tokens an answer: two engines serve 9 a second.
_SIM = Scale(rate=9.0, in_flight=16, limits=Limits())
# Two tiny models on two CPUs, shared with gateway and load: 8 sequences at about 6 ms a step.
_VLLM = Scale(rate=5.0, in_flight=8, limits=Limits(output_tokens=256))


def main(arguments: list[str]) -> int:
    """Run the demo.

    Returns: 0 when every request completed with the recorded number of tokens.

    Raises:
        ConfigError: A flag is wrong.
    """
    options = _parser().parse_args(arguments)
    if not 1 <= options.seconds <= 600:  # noqa: PLR2004  bounded in time, always
        raise ConfigError(f"--seconds must be 1 to 600, not {options.seconds:g}")
    vllm = None if options.vllm is None else parse_vllm(options.vllm)
    console = Console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="alise-demo-"))
    succeeded = False
    try:
        with interrupted_by_signals():
            succeeded = _run(options, vllm, folder, console)
    except ChildFailed as error:
        console.print(str(error), markup=False, style="red")
    except KeyboardInterrupt:
        console.print("interrupted")
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not succeeded:
        console.print(f"failed; the logs of gateway and engines are in {folder}", style="red")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise demo",
        description="Two engines and a bursty load of real prompts with their real answer lengths, "
        "through a gateway that serves who came first and through one as it ships; prints "
        "latencies, throughput and outcomes side by side, and how well lengths were predicted.",
    )
    parser.add_argument(
        "--vllm",
        metavar="JSON",
        help="real vLLM instead of the simulator: the line that tools/vllm_env.py prints",
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long requests arrive")
    parser.add_argument("--rate", type=float, help="requests per second, on average")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and the choice of prompts")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    return parser


def _run(
    options: argparse.Namespace, vllm: VllmPlace | None, folder: Path, console: Console
) -> bool:
    scale = _SIM if vllm is None else _VLLM
    count = max(1, round((options.rate or scale.rate) * options.seconds))
    rows = choose(read_sample(), count, options.seed, scale.limits)
    offsets = bursty_arrivals(count, options.seconds, _CV, options.seed)
    kind = "simulated" if vllm is None else "vLLM"
    with ExitStack() as servers:
        with console.status(f"starting two {kind} engines"):
            if vllm is None:
                starting = running_simulators(folder, scale.in_flight)
            else:
                starting = running_vllm(folder, vllm, rows, scale.in_flight)
            engines = servers.enter_context(starting)
        first = _serve(engines, _ORDERINGS[0], rows, offsets, folder, console)
        with running_stack(folder, engines, _ORDERINGS[1]) as stack:
            second = _measure(stack, _ORDERINGS[1], rows, offsets, console)
            _show(first, second, _lengths(stack, len(rows)), as_json=options.json)
            if options.keep:
                _keep(stack, console)
    return first.is_right and second.is_right


def _serve(
    engines: Engines,
    ordering: str,
    rows: list[SamplePrompt],
    offsets: list[float],
    folder: Path,
    console: Console,
) -> DemoOutcome:
    """The load through a gateway of its own."""
    with running_stack(folder, engines, ordering) as stack:
        return _measure(stack, ordering, rows, offsets, console)


def _measure(
    stack: Stack,
    ordering: str,
    rows: list[SamplePrompt],
    offsets: list[float],
    console: Console,
) -> DemoOutcome:
    """The load through a gateway that runs."""
    console.print(f"{len(rows)} requests, ordering {ordering}", highlight=False)
    outcome = uvloop.run(_load(stack, rows, offsets, console))
    stack.check_alive()
    return outcome


async def _load(
    stack: Stack,
    rows: list[SamplePrompt],
    offsets: list[float],
    console: Console,
) -> DemoOutcome:
    requests = [
        LoadRequest(
            post(stack.gateway, "/v1/chat/completions", chat_body(row, stack.model)),
            streamed=True,
            reads_usage=True,
        )
        for row in rows
    ]
    waiting: list[int] = []
    with _progress(console) as progress:
        bar = progress.add_task("requests", total=len(rows), waiting=0)

        def observe(_: RequestResult) -> None:
            progress.advance(bar)

        watcher = asyncio.create_task(_watch_queue(stack, waiting, progress))
        plan = OpenLoop(offsets, _DRAIN_SECONDS)
        run = await run_open(stack.gateway, requests.__getitem__, plan, time.monotonic, observe)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
    return evaluate(run, rows, max(waiting, default=None))


async def _watch_queue(stack: Stack, waiting: list[int], progress: Progress) -> None:
    """Ask the gateway how many requests wait, a few times a second."""
    while True:
        value = await asyncio.to_thread(stack.waiting)
        if value is not None:
            waiting.append(value)
            progress.update(progress.task_ids[0], waiting=value)
        await asyncio.sleep(_SAMPLE_SECONDS)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[waiting]} waiting in the gateway"),
        TimeElapsedColumn(),
        console=console,
    )


def _lengths(stack: Stack, requests: int) -> LengthOutcome | None:
    """What the gateway expected of the requests, from its own records."""
    deadline = time.monotonic() + _LOG_SECONDS
    found = read_requests(stack.gateway_log())
    # Its log lines come a moment after the answers; without some of them the figures are of fewer.
    while len(found) < requests and time.monotonic() < deadline:
        time.sleep(_SAMPLE_SECONDS)
        found = read_requests(stack.gateway_log())
    return judge_lengths(found, stack.metrics())


def _show(
    first: DemoOutcome, second: DemoOutcome, lengths: LengthOutcome | None, *, as_json: bool
) -> None:
    if as_json:
        values = {
            "fcfs": _values(first),
            "default": {**_values(second), "ordering": str(_ORDERINGS[1])},
            "lengths": None if lengths is None else asdict(lengths),
            "is_right": first.is_right and second.is_right,
        }
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
        return
    console = Console()
    console.print(outcome_table(first, second, _ORDERINGS[1]))
    if lengths is None:
        console.print("The gateway predicted no lengths.")
        return
    console.print(length_table(lengths))
    console.print(lengths.note, markup=False, highlight=False)


def _values(outcome: DemoOutcome) -> dict[str, object]:
    return {
        **asdict(outcome),
        "tokens_per_second": outcome.tokens_per_second,
        "is_right": outcome.is_right,
    }


def _keep(stack: Stack, console: Console) -> None:
    """Leave the servers running until Ctrl-C."""
    body = {
        "model": stack.model,
        "stream": True,
        "messages": [{"role": "user", "content": "Why do my tires always go flat in the winter?"}],
    }
    console.print("\nrunning until Ctrl-C; try:\n", highlight=False)
    sys.stdout.write(
        f"curl -N {stack.gateway.url}/v1/chat/completions -H 'content-type: application/json' "
        f"-d '{json.dumps(body)}'\n"
    )
    sys.stdout.flush()
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("stopping")
