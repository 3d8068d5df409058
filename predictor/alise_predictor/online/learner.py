"""Corrects predictions by what each tenant's traffic to each model has shown so far."""

from collections import OrderedDict
from collections.abc import Sequence
from math import log1p

from alise_core.prediction import LEVELS, PredictionSource
from alise_predictor.online.corrected import Corrected
from alise_predictor.online.facts import RequestFacts
from alise_predictor.online.histogram import LEAST_ANSWERS, prior_mass, quantiles
from alise_predictor.online.key_state import KeyState
from alise_predictor.online.limits import Limits
from alise_predictor.online.model_pool import ModelPool
from alise_predictor.online.snapshot import KeySnapshot, SnapshotError, pack, unpack
from alise_predictor.online.state import StateError
from alise_predictor.online.verdict import LearnedStatistics
from alise_predictor.prediction import RawPrediction

Key = tuple[str, str]

_NOTHING_LEARNED = LearnedStatistics(
    answers=0,
    slope=1.0,
    offset=0.0,
    concordance=None,
    coverage_p80=None,
    coverage_p90=None,
    drift=None,
    fallback=None,
)


class OnlineLearner:
    """Learned corrections of all keys; one for a gateway, not thread-safe.

    What one tenant sends changes only that tenant's corrections. The one thing shared is a model's
    histogram, asked when no model answers and the tenant is new; there a tenant's say is bounded
    (``model_pool.ModelPool``).

    Args:
        prior_log_quantiles: ``log(1 + tokens)`` at each of ``LEVELS`` of all training lengths.
        artifact: Identity of the model whose errors are learned; a snapshot of another is refused.
        limits: Bounds of memory.
    """

    __slots__ = (
        "_artifact", "_bytes", "_keys", "_limits", "_pools", "_prior", "_prior_quantiles",
        "_sizes", "_untaught",
    )  # fmt: skip

    def __init__(
        self,
        prior_log_quantiles: Sequence[float],
        *,
        artifact: str = "",
        limits: Limits | None = None,
    ) -> None:
        if len(prior_log_quantiles) != len(LEVELS):
            raise ValueError(f"{len(prior_log_quantiles)} prior quantiles, expected {len(LEVELS)}")
        self._prior = prior_mass(prior_log_quantiles)
        self._prior_quantiles = quantiles(self._prior)
        self._artifact = artifact
        self._limits = limits or Limits()
        self._keys: OrderedDict[Key, KeyState] = OrderedDict()
        # Answers for every key without one of its own; only ``predict`` may be called on it.
        self._untaught = KeyState(self._limits)
        self._pools: dict[str, ModelPool] = {}
        self._sizes: dict[Key, int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def size_bytes(self) -> int:
        """Estimate of the memory that all keys hold; at most ``Limits.total_bytes`` and one key."""
        return self._bytes

    def correct(
        self,
        tenant: str,
        model: str,
        raw: RawPrediction | None,
        facts: RequestFacts,
        now: float,
    ) -> Corrected:
        """The prediction to use.

        Args:
            tenant: Who asks.
            model: Which served model answers.
            raw: What the model of lengths says; ``None`` when it failed.
            facts: Of the request.
            now: Seconds on the caller's clock.
        """
        state = self._keys.get((tenant, model))
        if raw is None:
            return self._fallen_back(tenant, model)
        if state is None:
            # Nothing is stored for a question: only answers make a key.
            state = self._untaught
        said = state.predict(raw, facts, now)
        if state.fallback is None:
            known = state.histogram.known
            return Corrected(said.log_quantiles, raw.source, True, said, known)
        found = self._fallen_back(tenant, model)
        return Corrected(found.log_quantiles, found.source, False, said, found.known)

    def observe(  # noqa: PLR0913  one finished answer has this many sides
        self,
        tenant: str,
        model: str,
        raw: RawPrediction | None,
        corrected: Corrected,
        facts: RequestFacts,
        output_tokens: int,
        *,
        censored: bool,
        now: float,
    ) -> None:
        """Learn from a finished answer.

        Args:
            tenant: Who asked.
            model: Which served model answered.
            raw: What ``correct`` was given.
            corrected: What ``correct`` gave.
            facts: Of the request.
            output_tokens: What the engine counted.
            censored: The answer was cut at ``max_tokens``: its length is a lower bound.
            now: Seconds on the caller's clock.
        """
        key = (tenant, model)
        state = self._keys.get(key)
        if state is None:
            state = self._keys[key] = KeyState(self._limits)
        said = corrected.evidence
        if raw is not None and said is None:
            said = state.predict(raw, facts, now)
        expected = corrected.log_quantiles if said is None else said.log_quantiles
        length = state.learn_length(_log_length(output_tokens), censored, expected)
        if raw is not None and said is not None:
            state.learn(said, raw, length, now)
        self._pool(key, state)
        self._keys.move_to_end(key)
        self._account(key, state.size_bytes)

    def statistics(self, tenant: str, model: str) -> LearnedStatistics:
        """What is known of one key."""
        state = self._keys.get((tenant, model))
        return _NOTHING_LEARNED if state is None else state.statistics()

    def keys(self) -> list[Key]:
        """(tenant, model) of all keys, the one unused for longest first."""
        return list(self._keys)

    def snapshot(self) -> bytes:
        """Everything learned, for ``restore``."""
        keys = [
            KeySnapshot(tenant, model, state.state())
            for (tenant, model), state in self._keys.items()
        ]
        return pack(self._artifact, keys)

    def restore(self, data: bytes) -> None:
        """Replace everything learned by what a snapshot holds.

        Raises:
            SnapshotError: It is damaged, foreign or of another model; nothing has changed then.
        """
        keys: OrderedDict[Key, KeyState] = OrderedDict()
        for found in unpack(data, self._artifact):
            state = KeyState(self._limits)
            try:
                state.load(found.state)
            except StateError as error:
                raise SnapshotError("snapshot's state is not as documented") from error
            keys[(found.tenant, found.model)] = state
        self._keys, self._pools, self._sizes, self._bytes = keys, {}, {}, 0
        for key, state in list(keys.items()):
            if key in self._keys:
                self._pool(key, state)
                self._account(key, state.size_bytes)

    def _fallen_back(self, tenant: str, model: str) -> Corrected:
        state = self._keys.get((tenant, model))
        if state is not None and state.histogram.answers >= LEAST_ANSWERS:
            return Corrected(
                state.histogram.quantiles(),
                PredictionSource.TENANT_HISTOGRAM,
                state.fallback is None,
                known=state.histogram.known,
            )
        pool = self._pools.get(model)
        if pool is None:
            return Corrected(self._prior_quantiles, PredictionSource.PRIOR, True)
        return Corrected(pool.quantiles(), PredictionSource.MODEL_HISTOGRAM, True)

    def _pool(self, key: Key, state: KeyState) -> None:
        tenant, model = key
        pool = self._pools.get(model)
        if pool is None:
            pool = self._pools[model] = ModelPool(self._prior)
        pool.put(tenant, state.histogram.mass)

    def _unpool(self, key: Key) -> None:
        tenant, model = key
        pool = self._pools.get(model)
        if pool is not None:
            pool.drop(tenant)
            if not len(pool):
                del self._pools[model]

    def _account(self, key: Key, size: int) -> None:
        self._bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        limits = self._limits
        while len(self._keys) > 1 and (
            len(self._keys) > limits.keys or self._bytes > limits.total_bytes
        ):
            oldest, _ = self._keys.popitem(last=False)
            self._bytes -= self._sizes.pop(oldest, 0)
            self._unpool(oldest)


def _log_length(tokens: int) -> float:
    return log1p(min(max(0, tokens), _MOST_TOKENS))


_MOST_TOKENS = 10**7
"""No answer is longer; a backend that says so is not believed."""
