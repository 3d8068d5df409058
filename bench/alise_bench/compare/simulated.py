"""Simulated pods as an engine of comparisons: virtual time, the gateway's own decisions."""

from collections.abc import Sequence
from dataclasses import replace

from alise_bench.compare.engine import EngineWish
from alise_bench.compare.guesses import Guesser, Opinions
from alise_bench.compare.rows import ROWS, Knowledge, Row
from alise_bench.compare.served import ServedRequest
from alise_bench.compare.simulation import HOP_SECONDS, Setup, simulate
from alise_bench.sim.step_model import PROFILES, Batch, Profile
from alise_bench.workloads.traces import TraceRow
from alise_core.errors import ConfigError

_SAMPLE_PER_POD = 1_000
"""A pod holds 30 to 250 requests at a time: enough for the first and last ones not to matter."""
_SATURATED = replace(ROWS["fcfs"], name="saturated", knowledge=Knowledge.EXACT)
"""Engines that are given what they can hold, no more and no less: what they can produce at best."""
_STEADY = (0.25, 0.75)
"""Before, the engines fill up with requests that are all new; after, the long ones are left."""
_INSTANT = 1e-9


class SimulatedEngine:
    """See the module.

    Args:
        profile: Of each pod.
        pods: At least 1.
        opinions: Of any prompts; those of the traces are added to them.
    """

    def __init__(self, profile: Profile, pods: int, opinions: Opinions) -> None:
        self._profile = profile
        self._pods = pods
        self._asked = opinions
        self._of: tuple[Sequence[TraceRow], Opinions] = ((), self._asked)

    @property
    def context_tokens(self) -> int:
        """Of the profile."""
        return self._profile.max_model_len

    def facts(self) -> dict[str, object]:
        """Profile, pods and what a hop takes."""
        return {
            "engine": "sim",
            "profile": self._profile.name,
            "profile_source": self._profile.source,
            "pods": self._pods,
            "kv_tokens_per_pod": self._profile.kv_tokens,
            "context_tokens": self._profile.max_model_len,
            "hop_s": HOP_SECONDS,
            "tier1": self._asked.tier1,
        }

    def capacity(self, trace: Sequence[TraceRow]) -> float:
        """See ``Engine``; of requests spread evenly over the trace, or of several rounds of it."""
        wanted = _SAMPLE_PER_POD * self._pods
        step = max(1, len(trace) // wanted)
        rounds = max(1, -(-wanted // len(trace)))
        waiting = [replace(item, arrival_s=0.0) for item in trace[::step]] * rounds
        return production_rate(self.run(_SATURATED, waiting, seed=1))

    def run(self, row: Row, trace: Sequence[TraceRow], seed: int) -> list[ServedRequest]:
        """See ``Engine``."""
        if self._of[0] is not trace:
            self._of = (trace, self._asked.of(trace))
        guesser = Guesser(row.knowledge, trace, self._of[1], seed, row.history)
        return simulate(row, trace, guesser, Setup(self._profile, self._pods, seed=seed)).served

    def alone_seconds(self, item: TraceRow) -> float:
        """Prefill in one step, then a step a token, and two hops."""
        prompt, tokens = item.prompt_tokens, item.output_tokens
        prefill = Batch(prompt, prompt**2 / 2, 0, 0)
        decode = Batch(0, 0, 1, prompt + tokens // 2)
        step_seconds = self._profile.step_seconds
        return step_seconds(prefill) + (tokens - 1) * step_seconds(decode) + 2 * HOP_SECONDS


def production_rate(served: Sequence[ServedRequest]) -> float:
    """Requests a second, by the tokens that engines produce while more than enough waits for them.

    Tokens, because the requests that end first are the short ones. Counted between the moments at
    which a quarter and three quarters of the requests have begun; each request's tokens come
    evenly. Over the whole run where those moments coincide.

    Args:
        served: A run in which everything waits from the start; at least one complete request.
    """
    marks = [
        (item.first_token, item.last_token, item.output_tokens)
        for item in served
        if item.first_token is not None and item.last_token is not None
    ]
    begun = sorted(first for first, _, _ in marks)
    start, stop = (begun[int(share * (len(begun) - 1))] for share in _STEADY)
    if stop <= start:
        start, stop = 0.0, max(last for _, last, _ in marks)
    produced = sum(
        tokens * max(0.0, min(last, stop) - max(first, start)) / max(last - first, _INSTANT)
        for first, last, tokens in marks
    )
    mean_tokens = sum(tokens for _, _, tokens in marks) / len(marks)
    return produced / (stop - start) / mean_tokens


def make(wish: EngineWish) -> SimulatedEngine:
    """The engine that the command line asks for.

    Raises:
        ConfigError: There is no profile of that name.
    """
    profile = PROFILES.get(wish.profile)
    if profile is None:
        raise ConfigError(
            f"--profile: there is no profile {wish.profile!r}; there are {', '.join(PROFILES)}"
        )
    return SimulatedEngine(profile, wish.pods, Opinions((), tier1=wish.tier1))
