"""A pod's host tier in the simulation: whether a preempted request finds its KV again. Pure.

Everything that is computed is written through, as the plugin does. Under ``lru`` a request's KV is
there while no more than the tier holds was written since the request began; of a chain whose
beginning is gone nothing can be used. ``ewt`` spares the living: what they hold is there up to the
tier's size, the beginning of each chain first. Prefixes that different requests share are not
simulated, so that this tier is worth less here than in a pool of long conversations.
"""

from alise_bench.sim.counted import CountedEngine
from alise_bench.sim.counted_state import CountedRun
from alise_bench.tuner.profiles import load_seconds, tier_tokens


class SimTier:
    """Implements ``sim.counted.HostTier``.

    Attributes:
        level: ``none``, ``int8`` or ``int4``.
        eviction: ``lru`` or ``ewt``.
        capacity_bytes: Of the tier.
        restored_tokens: Found again by preempted requests, since the start.
        recomputed_tokens: Not found by them.
    """

    def __init__(self, level: str, eviction: str, capacity_bytes: int) -> None:
        self.level, self.eviction, self.capacity_bytes = level, eviction, capacity_bytes
        self.restored_tokens = 0
        self.recomputed_tokens = 0
        self._began: dict[int, int] = {}
        self._pushed_out = 0.0

    @property
    def tokens(self) -> float:
        """That it holds."""
        return tier_tokens(self.capacity_bytes, self.level)

    def found(self, run: CountedRun, engine: CountedEngine) -> int:
        """See ``HostTier``."""
        number = run.item.number
        if not run.preemptions:
            self._began[number] = engine.computed_tokens
            return 0
        if self.eviction == "ewt":
            living = engine.held_tokens + run.length
            share = min(1.0, self.tokens / max(1, living))
            return min(run.length - 1, int(run.length * share))
        written = engine.computed_tokens - self._began.get(number, 0)
        return run.length - 1 if written <= self.tokens else 0

    def load(self, run: CountedRun, tokens: int) -> float:
        """See ``HostTier``."""
        self.restored_tokens += tokens
        self.recomputed_tokens += run.length - tokens
        return load_seconds(tokens, self.level)

    def forget(self, number: int) -> None:
        """A request is over."""
        self._began.pop(number, None)

    def used_ratio(self, computed_tokens: int) -> float:
        """Of the tier, after so much was written."""
        return min(1.0, computed_tokens / max(1.0, self.tokens))

    def pushed_out(self, computed_tokens: int) -> float:
        """Tokens pushed out since the start; never falls, whatever its size does."""
        self._pushed_out = max(self._pushed_out, computed_tokens - self.tokens)
        return self._pushed_out
