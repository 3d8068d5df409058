"""What a server is started with and what may change while it runs; pure.

::

    --additional-config '{"alise": {"tier": {"capacity_bytes": 8589934592, "level": "int8"}}}'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from alise_core.errors import ConfigError
from alise_vllm.settings import TIER
from alise_vllm.tier.levels import ChunkShape, Level

EVICTIONS = ("lru", "arc", "ewt", "vllm:lru", "vllm:arc")
"""``vllm:`` are vLLM's own."""
_SHOWN = 60
_KEYS = ("capacity_bytes", "level", "eviction")


@dataclass(frozen=True, slots=True)
class TierSettings:
    """Settings of the tier.

    Attributes:
        capacity_bytes: Host memory for KV, of all workers together.
        level: How tightly it is packed.
        eviction: What leaves when there is no room; one of ``EVICTIONS``.
    """

    capacity_bytes: int
    level: Level = Level.NONE
    eviction: str = "lru"

    def changed(self, changes: Mapping[str, object]) -> "TierSettings":
        """The same with some values replaced.

        Raises:
            ConfigError: A key is unknown or a value is wrong.
        """
        unknown = sorted(str(key) for key in changes.keys() - set(_KEYS))
        if unknown:
            raise ConfigError(f"'{TIER}' has no {unknown[0]!r}; it takes {', '.join(_KEYS)}")
        found = self
        if "capacity_bytes" in changes:
            found = replace(found, capacity_bytes=_bytes(changes["capacity_bytes"]))
        if "level" in changes:
            found = replace(found, level=Level(_one_of("level", changes["level"], tuple(Level))))
        if "eviction" in changes:
            eviction = _one_of("eviction", changes["eviction"], EVICTIONS)
            found = replace(found, eviction=eviction)
        return found


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the engine and its machine allow.

    Attributes:
        shape: Of a chunk, in one worker.
        workers: That hold a part of every chunk.
        most_bytes: Memory of the machine.
    """

    shape: ChunkShape
    workers: int
    most_bytes: int

    def check(self, settings: TierSettings) -> None:
        """Refuse what cannot work here.

        Raises:
            ConfigError: With key, value and remedy.
        """
        if settings.level not in self.shape.levels:
            allowed = ", ".join(self.shape.levels)
            raise ConfigError(
                f"'level' {settings.level} is not for this model's KV cache; it takes {allowed}"
            )
        least = self.shape.bytes_at(Level.NONE) * self.workers
        if not least <= settings.capacity_bytes <= self.most_bytes:
            raise ConfigError(
                f"'capacity_bytes' {settings.capacity_bytes} has to be from {least}, one chunk, "
                f"to {self.most_bytes}, the machine's memory"
            )

    def extents(self, capacity_bytes: int) -> int:
        """How many extents each worker gets."""
        return capacity_bytes // (self.workers * self.shape.extent_bytes)


def parse_settings(section: object) -> TierSettings:
    """The settings that a section of ``--additional-config`` gives.

    Raises:
        ConfigError: It is no mapping, lacks ``capacity_bytes``, or a key or value is wrong.
    """
    if not isinstance(section, Mapping) or "capacity_bytes" not in section:
        raise ConfigError(
            "the host KV tier needs its size: start vLLM with --additional-config "
            f"""'{{"alise": {{"{TIER}": {{"capacity_bytes": 8589934592}}}}}}'"""
        )
    return TierSettings(0).changed(section)


def _bytes(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ConfigError(
            f"'capacity_bytes' {str(value)[:_SHOWN]!r} has to be a whole number of bytes, 1 or more"
        )
    return value


def _one_of(key: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ConfigError(
            f"'{key}' {str(value)[:_SHOWN]!r} is unknown; it takes {', '.join(allowed)}"
        )
    return str(value)
