"""The tier as a part that can be looked at and changed while the engine runs; pure."""

from collections.abc import Callable, Mapping

from alise_vllm.settings import TIER
from alise_vllm.tier.eviction import Policy
from alise_vllm.tier.ewt import Waits
from alise_vllm.tier.remaining import Remaining
from alise_vllm.tier.settings import Bounds, TierSettings
from alise_vllm.tier.store import HostStore
from alise_vllm.tier.swaps import Swaps
from alise_vllm.tier.worth import Worth
from alise_vllm.tunable import Json

MakePolicy = Callable[[str, Waits], Policy]
"""An empty policy by its name in ``EVICTIONS``, and where ``ewt`` gets its waits."""

PRICED_TOKENS = 1_024
"""Tokens that ``state`` tells the prices of."""


class Tier:
    """The host tier of one engine, as its scheduler sees it.

    Args:
        settings: That it starts with.
        bounds: That it may move in.
        tokens_per_chunk: That the KV of a chunk is of.
        make_policy: Gives policies.

    Raises:
        ConfigError: The settings are out of bounds.
    """

    def __init__(
        self,
        settings: TierSettings,
        bounds: Bounds,
        tokens_per_chunk: int,
        make_policy: MakePolicy,
    ) -> None:
        bounds.check(settings)
        self.settings = settings
        self.tokens_per_chunk = tokens_per_chunk
        self.remaining = Remaining()
        self.waits = Waits(remaining=self.remaining.of)
        self.worth = Worth()
        self.swaps = Swaps()
        self._bounds = bounds
        self._make_policy = make_policy
        self.store = HostStore(
            bounds.shape,
            bounds.extents(settings.capacity_bytes),
            settings.level,
            make_policy(settings.eviction, self.waits),
        )

    def worth_loading(self, tokens: int) -> bool:
        """Whether so many tokens are loaded rather than computed."""
        return self.worth.to_load(tokens, self._size_of(tokens))

    def holds_load(self) -> bool:
        """Whether a load waits for the next step; see ``Swaps``, which is part of ``ewt``."""
        return self.settings.eviction == "ewt" and self.swaps.hold()

    @property
    def name(self) -> str:
        """Key of the part."""
        return TIER

    def state(self) -> Mapping[str, Json]:
        """What there is to see."""
        counts, tokens = self.store.counts, self.tokens_per_chunk
        extent_bytes = self._bounds.shape.extent_bytes * self._bounds.workers
        return {
            "level": str(self.settings.level),
            "eviction": self.settings.eviction,
            "capacity_bytes": self.settings.capacity_bytes,
            "used_bytes": self.store.used * extent_bytes,
            "chunks": {str(level): held for level, held in self.store.by_level.items()},
            "tokens_per_chunk": tokens,
            "stored_tokens": counts.stored * tokens,
            "loaded_tokens": counts.loaded * tokens,
            "restored_tokens": counts.restored * tokens,
            "evicted_tokens": counts.evicted * tokens,
            "refused_tokens": counts.refused * tokens,
            "declined_tokens": self.worth.declined_tokens,
            "held_loads": self.swaps.held,
            "copy_seconds": self.worth.copies.of(self._size_of(PRICED_TOKENS)),
            "compute_seconds": self.worth.prefills.of(PRICED_TOKENS),
            "priced_tokens": PRICED_TOKENS,
            "ignored_predictions": self.remaining.ignored,
            "ignored_waits": self.waits.ignored,
        }

    def plan(self, changes: Mapping[str, object]) -> Callable[[], Mapping[str, Json]]:
        """Check changes without making any.

        Args:
            changes: New values by key: level, eviction, capacity_bytes.

        Returns: Makes the changes and cannot fail; gives ``{key: [before, after]}``.

        Raises:
            ConfigError: A key is unknown or a value is wrong; names key, value and remedy.
        """
        self._bounds.check(self.settings.changed(changes))
        return lambda: self._change(changes)

    def _size_of(self, tokens: int) -> int:
        """Bytes that one worker copies; workers copy at the same time."""
        per_chunk = self._bounds.shape.bytes_at(self.settings.level)
        return per_chunk * tokens // self.tokens_per_chunk

    def _change(self, changes: Mapping[str, object]) -> Mapping[str, Json]:
        before = self.settings
        after = self.settings = before.changed(changes)
        self.store.level = after.level
        if after.eviction != before.eviction:
            self.store.change_policy(self._make_policy(after.eviction, self.waits))
        if after.capacity_bytes != before.capacity_bytes:
            self.store.resize(self._bounds.extents(after.capacity_bytes))
        return {key: [getattr(before, key), getattr(after, key)] for key in changes}
