"""Real vLLM servers as an engine of comparisons: wall-clock time, a gateway process for each row.

The tiny model's answers are noise of the recorded lengths (``alise_vllm.replay``), which the
gateway does not see. The plain load balancers are the load generator itself; every other row has
a gateway of its own, which starts with nothing learned, or with what it would have learned from a
row's history. Engines stay up, without a prefix cache, until a trace brings prompts that their
table of lengths does not hold.
"""

import asyncio
import shutil
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import msgspec

from alise_bench.compare.balanced import BalancedPlan, BalancedRun, run_balanced
from alise_bench.compare.engine import EngineWish
from alise_bench.compare.guesses import Guesser, Opinions
from alise_bench.compare.rows import ROWS, Dispatcher, Row
from alise_bench.compare.served import ServedRequest
from alise_bench.compare.simulated import production_rate
from alise_bench.compare.vllm_lengths import (
    LENGTH_SHARE,
    MOST_OUTPUT_TOKENS,
    MOST_PROMPT_CHARS,
    chat_body,
    lengths_of,
    seen_by_a_gateway,
    shaped,
)
from alise_bench.compare.vllm_servers import (
    CONTEXT_TOKENS,
    MAX_NUM_SEQS,
    MODEL,
    OPTIONS,
    RUN_AHEAD,
    STEP_SECONDS,
    UNCACHED,
    Server,
    Variant,
    gateway_config,
    running_gateway,
    running_servers,
)
from alise_bench.load.request import Address, LoadRequest, post
from alise_bench.load.result import RequestResult
from alise_bench.processes import Child, ChildFailed, free_port, interrupted_by_signals
from alise_bench.vllm.place import VllmPlace, model_text, parse_vllm
from alise_bench.vllm.replay import write_table
from alise_bench.workloads.traces import TraceRow
from alise_core.errors import ConfigError
from alise_core.outcome import Outcome

_SAMPLE = 160
"""Requests of the burst that measures the capacity: ten times what two engines run at a time."""
_LOG_SECONDS = 5.0
"""The gateway's last log lines are waited for this long."""
_POLL_SECONDS = 0.1
_REMEDY = """--vllm "$(python tools/vllm_env.py)", in a checkout of ALISE"""
_NOTES = (
    f"answers are {LENGTH_SHARE:g} times as long as recorded and have at most "
    f"{MOST_OUTPUT_TOKENS} tokens, prompts at most {MOST_PROMPT_CHARS} characters",
    f"a step of an engine takes at least {STEP_SECONDS * 1_000:g} ms (alise_vllm.pace), as on an "
    "accelerator; with it the CPUs are enough for engines, gateway and load generator together",
    "the gateway probes engines more patiently than it does as it ships: their CPU is not theirs",
    "latencies are the client's, tokens the engine's count; every request is of one tenant",
    "in direct rows the load generator chooses the engine, and requests queue inside it",
)


class VllmEngine:
    """See the module. Its processes end with it, or with the interpreter.

    Args:
        place: Where vLLM and the model are.
        variants: Of the servers, one for each.
        tier1: Whether the gateway's predictor asks its encoder.
        burst: The row that measures the capacity.
    """

    _run_ahead = RUN_AHEAD
    _take_turns = False
    """Whether one server works at a time."""

    def __init__(
        self,
        place: VllmPlace,
        variants: Sequence[Variant],
        *,
        tier1: bool,
        burst: Row = ROWS["fcfs"],
    ) -> None:
        self._place = place
        self._variants = variants
        self._tier1 = tier1
        self._burst = burst
        self._folder = Path(tempfile.mkdtemp(prefix="alise-compare-"))
        self._started = ExitStack()
        self._servers: list[Server] = []
        self._lengths: dict[str, int] = {}
        self._gateways = 0
        self._close = weakref.finalize(self, _close, self._started, self._folder)

    @property
    def context_tokens(self) -> int:
        """See ``Engine``."""
        return CONTEXT_TOKENS

    def facts(self) -> dict[str, object]:
        """What serves and how, and what was changed of the trace."""
        return {
            "engine": "vllm",
            "model": model_text(self._place),
            "pods": len(self._variants),
            "max_num_seqs": MAX_NUM_SEQS,
            "step_seconds": STEP_SECONDS,
            "vllm_options": [*OPTIONS, *UNCACHED.flags],
            "context_tokens": CONTEXT_TOKENS,
            "length_share": LENGTH_SHARE,
            "most_output_tokens": MOST_OUTPUT_TOKENS,
            "tier1": self._tier1,
            "engine_notes": list(_NOTES),
        }

    def capacity(self, trace: Sequence[TraceRow]) -> float:
        """See ``Engine``; of requests spread evenly over the trace, all at once."""
        self._prepare(lengths_of(shaped(trace)))
        step = max(1, len(trace) // _SAMPLE)
        waiting = [replace(item, arrival_s=0.0) for item in trace[::step]]
        served = self.run(self._burst, waiting, seed=1)
        if not any(item.last_token is not None for item in served):
            raise ChildFailed("no request of the burst was answered")
        return production_rate(served)

    def run(self, row: Row, trace: Sequence[TraceRow], seed: int) -> list[ServedRequest]:
        """See ``Engine``; nothing is drawn.

        Raises:
            ChildFailed: A process ended, or an answer had another length than recorded.
        """
        del seed
        rows = shaped(trace)
        self._prepare(lengths_of(rows))
        before = self._preemptions()
        with interrupted_by_signals():
            if row.dispatcher is Dispatcher.GATEWAY:
                served = self._through_gateway(row, rows, self._servers)
            else:
                plan = self._plan(row, rows, [server.address for server in self._servers])
                served = served_directly(rows, send(plan, _bodies(rows)))
        for server in self._servers:
            server.child.check_alive()
        require_lengths(rows, served)
        served[0].preemptions = self._preemptions() - before
        return served

    def alone_seconds(self, item: TraceRow) -> None:
        """Not known."""
        del item

    @cached_property
    def _opinions(self) -> Opinions:
        """Of everything that predictors other than a gateway's own are asked."""
        return Opinions((), tier1=self._tier1)

    def _prepare(self, lengths: dict[str, int]) -> None:
        """Have engines whose table holds these lengths."""
        if self._servers and lengths.items() <= self._lengths.items():
            return
        self._started.close()
        self._servers = []
        self._lengths = {**self._lengths, **lengths}
        asked = list(self._lengths)
        path = self._folder / "lengths.jsonl"
        ids = write_table(path, self._place, self._lengths)
        with interrupted_by_signals():
            self._servers = self._started.enter_context(
                running_servers(
                    self._place, self._variants, path, self._folder, take_turns=self._take_turns
                )
            )
        self._check_tokens(asked, ids)

    def _check_tokens(self, asked: Sequence[str], ids: Sequence[list[int]]) -> None:
        """The table is of use only where the engine computes the same ids."""
        for text, its in zip(asked, ids, strict=True):
            content = msgspec.json.decode(text)
            if not content["tools"]:
                if self._servers[0].tokenize(content["messages"]) != its:
                    raise ChildFailed("vLLM computes other token ids than the table of lengths has")
                return

    def _through_gateway(
        self, row: Row, rows: Sequence[TraceRow], servers: Sequence[Server]
    ) -> list[ServedRequest]:
        port = free_port()
        self._gateways += 1
        engines = [server.address for server in servers]
        config = gateway_config(row, port, engines, tier1=self._tier1, run_ahead=self._run_ahead)
        name = f"gateway-{self._gateways}-{row.name}"
        if row.history:
            learned = self._folder / f"{name}.learned"
            learned.write_bytes(self._taught(row))
            config["predictor"]["snapshot_file"] = str(learned)
        with running_gateway(config, name, self._folder) as gateway:
            plan = self._plan(row, rows, [Address("127.0.0.1", port)])
            run = send(plan, _bodies(rows))
            gateway.check_alive()
            return served_by_gateway(rows, run, _read_log(gateway, len(rows)))

    def _taught(self, row: Row) -> bytes:
        """What a gateway would have learned from a row's history."""
        history = seen_by_a_gateway(shaped(row.history), MODEL)
        return Guesser(row.knowledge, (), self._opinions, 0, history).learned()

    def _plan(self, row: Row, rows: Sequence[TraceRow], servers: Sequence[Address]) -> BalancedPlan:
        return BalancedPlan(
            servers=servers,
            takes_turns=row.dispatcher is Dispatcher.ROUND_ROBIN,
            offsets=[item.arrival_s for item in rows],
        )

    def _preemptions(self) -> int:
        return sum(server.preemptions() for server in self._servers)


class LogLine(msgspec.Struct, frozen=True):
    """What is read of a line of the gateway's request log; marks count from the arrival.

    Attributes:
        event: ``request`` in a line about one.
        request_id: As the load generator gave it.
        outcome: How it ended.
        backend: Where it was last.
        dispatched_s: When it left the queue.
    """

    event: str = ""
    request_id: str = ""
    outcome: str = ""
    backend: str | None = None
    dispatched_s: float | None = None


def make(wish: EngineWish) -> VllmEngine:
    """The engine that the command line asks for.

    Raises:
        ConfigError: Nobody says where vLLM is.
    """
    return VllmEngine(place_of(wish), [UNCACHED] * wish.pods, tier1=wish.tier1)


def place_of(wish: EngineWish) -> VllmPlace:
    """Where vLLM is.

    Raises:
        ConfigError: Nobody says it.
    """
    if wish.vllm is None:
        raise ConfigError(f"where vLLM is has to be said; add {_REMEDY}")
    place = parse_vllm(wish.vllm)
    if not Path(place.vllm).is_file():
        raise ConfigError(f"--vllm: there is no {place.vllm}; give {_REMEDY}")
    return place


def read_log(text: str) -> dict[str, LogLine]:
    """The lines about requests among everything that a gateway has written, by request id."""
    decode = msgspec.json.Decoder(LogLine).decode
    found = {}
    for line in text.splitlines():
        try:
            entry = decode(line)
        except msgspec.DecodeError:  # another program's words, or a line that is not whole yet
            continue
        if entry.event == "request":
            found[entry.request_id] = entry
    return found


def request_id(number: int) -> str:
    """Under which the gateway logs a request."""
    return f"compare-{number}"


def served_directly(rows: Sequence[TraceRow], run: BalancedRun) -> list[ServedRequest]:
    """Marks of a run without a gateway; what is sent is dispatched."""
    served = _served(rows, run)
    for item in served:
        item.dispatched = item.arrival
        item.backend = f"vllm-{run.servers[item.number]}"
    return served


def served_by_gateway(
    rows: Sequence[TraceRow], run: BalancedRun, log: dict[str, LogLine]
) -> list[ServedRequest]:
    """Marks of a run through a gateway, with what its log says of each request."""
    served = _served(rows, run)
    for item in served:
        line = log.get(request_id(item.number))
        if line is None:
            continue
        item.backend = line.backend or ""
        if line.dispatched_s is not None:
            item.dispatched = item.arrival + line.dispatched_s
        if item.last_token is None:
            item.outcome = Outcome(line.outcome)
    return served


def _served(rows: Sequence[TraceRow], run: BalancedRun) -> list[ServedRequest]:
    results = {result.number: result for result in run.results}
    return [_marks(number, results[number], run.begin, rows) for number in range(len(rows))]


def _marks(
    number: int, result: RequestResult, begin: float, rows: Sequence[TraceRow]
) -> ServedRequest:
    sent = result.started - begin
    marks = ServedRequest(number, sent, tenant=rows[number].tenant or "")
    if result.error is not None:
        marks.outcome = Outcome.FAILED_BACKEND_ERROR
        return marks
    marks.first_token = sent + result.ttfb
    marks.last_token = sent + result.total
    marks.output_tokens = result.tokens or 0
    return marks


def require_lengths(rows: Sequence[TraceRow], served: Sequence[ServedRequest]) -> None:
    """Answers of other lengths than recorded are another experiment."""
    wrong = [
        item.number
        for item in served
        if item.last_token is not None and item.output_tokens != rows[item.number].output_tokens
    ]
    if wrong:
        first = wrong[0]
        raise ChildFailed(
            f"{len(wrong)} of {len(rows)} answers have another length than recorded: request "
            f"{first} has {served[first].output_tokens} tokens, "
            f"not {rows[first].output_tokens}"
        )


def _bodies(rows: Sequence[TraceRow]) -> list[bytes]:
    return [chat_body(item, MODEL) for item in rows]


def send(plan: BalancedPlan, bodies: Sequence[bytes]) -> BalancedRun:
    """Send requests in their order, and wait for the answers.

    Args:
        plan: Servers and times.
        bodies: One for each time.
    """

    def build(number: int, address: Address) -> LoadRequest:
        headers = {"x-request-id": request_id(number)}
        wire = post(address, "/v1/chat/completions", bodies[number], headers)
        return LoadRequest(wire, streamed=True, reads_usage=True)

    return asyncio.run(run_balanced(plan, build, time.monotonic))


def _read_log(gateway: Child, requests: int) -> dict[str, LogLine]:
    """A gateway's lines; they come a moment after the answers."""
    deadline = time.monotonic() + _LOG_SECONDS
    while True:
        text = gateway.log.read_text(encoding="utf-8", errors="replace")
        found = read_log(text)
        if len(found) >= requests or time.monotonic() > deadline:
            return found
        time.sleep(_POLL_SECONDS)


def _close(started: ExitStack, folder: Path) -> None:
    started.close()
    shutil.rmtree(folder, ignore_errors=True)
