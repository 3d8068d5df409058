"""vLLM servers with and without the engine plugin as an engine of comparisons.

Each way to schedule is a server of its own, all up at the same time and one at a time at work, so
that rows take turns on one machine. Lengths are replayed, steps take as long as on an accelerator
(``alise_bench.vllm``). What is predicted of a request travels with it, as a gateway would send it;
before one of the servers there is a gateway, which predicts, queues and sends for itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from alise_bench.compare.engine import EngineWish
from alise_bench.compare.guesses import Guesser
from alise_bench.compare.rows import ENGINE_ROWS, Dispatcher, Row
from alise_bench.compare.served import ServedRequest
from alise_bench.compare.vllm import (
    VllmEngine,
    place_of,
    require_lengths,
    send,
    served_directly,
)
from alise_bench.compare.vllm_lengths import LENGTH_SHARE, Told, chat_body, lengths_of, shaped
from alise_bench.compare.vllm_servers import MODEL, OPTIONS, STEP_SECONDS, Variant
from alise_bench.processes import interrupted_by_signals
from alise_bench.vllm.place import VllmPlace
from alise_bench.workloads.traces import TraceRow
from alise_core.errors import ConfigError
from alise_core.policy import AdmissionPolicy
from alise_vllm.settings import SCHEDULER_CLASS

_SCHEDULER = f"--scheduler-cls={SCHEDULER_CLASS}"
_LEVELS = (0.5, 0.9)
_NOTES = (
    "in all rows but gateway the load generator sends every request to the engine at once, with "
    "the shipped predictor's p50 and p90 of its answer (both tiers, nothing learned while it runs)",
    "gateway: the gateway as it ships before the plugin as it ships; it predicts, learns from the "
    "answers that end, queues, and tells the engine what it expects; the engine gets "
    f"{AdmissionPolicy().ordering_run_ahead} requests more than it runs, to order by itself",
    "vllm-fcfs is vLLM as it comes; vllm-priority is its own priority scheduling, with the "
    "predicted p50 as each request's priority; mlfq, srpt and default (gittins, "
    "predictions put right by the answers that ended) are the plugin's; oracle is default with the "
    "true lengths",
    "prefix caching is on, as vLLM has it: without it what is preempted is computed anew; the "
    "burst that measures the capacity runs on vllm-fcfs, which therefore knows the prompts",
    f"a step takes at least {STEP_SECONDS * 1_000:g} ms (alise_vllm.pace), as on an accelerator; "
    "all servers are on the same CPU and take turns",
)


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to schedule.

    Attributes:
        variant: The server's flags and settings.
        told: What a request says of its answer's length.
    """

    variant: Variant = field(default_factory=Variant)
    told: Told = Told.NOTHING
    """By the load generator."""


_PLUGIN = Variant((_SCHEDULER,))
_KNOWN = Variant((_SCHEDULER, "--middleware=alise_vllm.control.middleware.Drain"))
"""By its answers to ``/alise/ready`` a gateway knows that it may send predictions."""
_MLFQ = Variant((_SCHEDULER,), MappingProxyType({"scheduler": {"policy": "mlfq"}}))
_SRPT = Variant(
    (_SCHEDULER,), MappingProxyType({"scheduler": {"policy": "srpt", "recalibrate": False}})
)
MODES: Mapping[str, Mode] = {
    "vllm-fcfs": Mode(),
    "vllm-priority": Mode(Variant(("--scheduling-policy=priority",)), Told.PRIORITY),
    "mlfq": Mode(_MLFQ, Told.HINTS),
    "srpt": Mode(_SRPT, Told.HINTS),
    "default": Mode(_PLUGIN, Told.HINTS),
    "oracle": Mode(_PLUGIN, Told.HINTS),
    "gateway": Mode(_KNOWN),
}
"""By row."""
_BURST = ENGINE_ROWS["vllm-fcfs"]


class PluginEngine(VllmEngine):
    """See the module.

    Args:
        place: Where vLLM and the model are.
        tier1: Whether the predictor asks its encoder.
        rows: Names of those that get a server, beside the one that measures the capacity.
    """

    _run_ahead = AdmissionPolicy().ordering_run_ahead
    _take_turns = True

    def __init__(self, place: VllmPlace, *, tier1: bool, rows: Sequence[str]) -> None:
        self._modes = {name: MODES[name] for name in dict.fromkeys((_BURST.name, *rows))}
        variants = [mode.variant for mode in self._modes.values()]
        super().__init__(place, variants, tier1=tier1, burst=_BURST)
        self._names = list(self._modes)

    def facts(self) -> dict[str, object]:
        """What serves and how."""
        modes = {name: list(mode.variant.flags) for name, mode in self._modes.items()}
        return {
            **super().facts(),
            "engine": "plugin",
            "pods": 1,
            "vllm_options": list(OPTIONS),
            "modes": modes,
            "engine_notes": list(_NOTES),
        }

    def run(self, row: Row, trace: Sequence[TraceRow], seed: int) -> list[ServedRequest]:
        """See ``Engine``.

        Raises:
            ChildFailed: A server ended, or an answer had another length than recorded.
        """
        rows = shaped(trace)
        self._prepare(lengths_of(rows))
        server = self._servers[self._names.index(row.name)]
        before = server.preemptions()
        with interrupted_by_signals():
            if row.dispatcher is Dispatcher.GATEWAY:
                served = self._through_gateway(row, rows, [server])
            else:
                bodies = self._bodies(row, trace, rows, seed)
                plan = self._plan(row, rows, [server.address])
                served = served_directly(rows, send(plan, bodies))
        server.child.check_alive()
        require_lengths(rows, served)
        served[0].preemptions = server.preemptions() - before
        return served

    def _bodies(
        self, row: Row, trace: Sequence[TraceRow], rows: Sequence[TraceRow], seed: int
    ) -> list[bytes]:
        told = MODES[row.name].told
        if told is Told.NOTHING:
            return [chat_body(item, MODEL) for item in rows]
        opinions = self._opinions.of(trace)
        guesser = Guesser(row.knowledge, trace, opinions, seed, row.history)
        bodies = []
        for number, item in enumerate(rows):
            guess = guesser.guess(number, item.arrival_s)
            guess = guesser.refine(number, item.arrival_s) or guess
            p50, p90 = (max(1, round(LENGTH_SHARE * guess.quantile(level))) for level in _LEVELS)
            bodies.append(chat_body(item, MODEL, told.fields(p50, p90)))
        return bodies


def make(wish: EngineWish) -> PluginEngine:
    """The engine that the command line asks for.

    Raises:
        ConfigError: Nobody says where vLLM is, or there are to be several engines.
    """
    if wish.pods != 1:
        raise ConfigError(f"--pods {wish.pods}: every way to schedule has one server; leave it out")
    return PluginEngine(place_of(wish), tier1=wish.tier1, rows=wish.rows)
