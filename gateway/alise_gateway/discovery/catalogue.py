"""What the backends together serve: pure functions over their model lists and the aliases.

An alias leads to a served name in one step, or to several of which each gets a share of the
conversations. Where a backend serves a model under the very name of
an alias, the alias wins: what a name means is then settled by configuration and does not change
when a backend comes or goes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log

import msgspec

from alise_core.errors import ConfigError, WireError
from alise_gateway.domain.backend import ServedModel

MAX_MODELS_PER_BACKEND = 10_000
"""A base model with its adapters is tens to hundreds; more is not a model list."""
MAX_NAME_CHARS = 512


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One row of the gateway's own ``/v1/models``.

    Attributes:
        name: As clients ask for it.
        max_model_len: The smallest context that any of its backends offers, in tokens; ``None``
            when none says.
        created: Unix seconds; the earliest that any backend states.
        owned_by: As the first backend states it.
        alias_of: The served names behind it when it is an alias.
    """

    name: str
    max_model_len: int | None
    created: int
    owned_by: str
    alias_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A served model that an alias leads to, and its share against those of the others."""

    model: str
    weight: int = 1


Aliases = Mapping[str, tuple[Target, ...]]


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None
    created: float | None = None
    owned_by: str | None = None


class _ModelList(msgspec.Struct):
    data: list[_Model]


_DECODER = msgspec.json.Decoder(_ModelList)


def parse_models(body: bytes) -> dict[str, ServedModel]:
    """Understand a backend's answer to ``GET /v1/models``.

    Raises:
        WireError: Not a model list; says what is wrong with it.
    """
    try:
        models = _DECODER.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a model list: {error}") from error
    if len(models) > MAX_MODELS_PER_BACKEND:
        raise WireError(f"not a model list: more than {MAX_MODELS_PER_BACKEND} entries")
    return {model.id: _served(model) for model in models}


def _served(model: _Model) -> ServedModel:
    if not 1 <= len(model.id) <= MAX_NAME_CHARS:
        raise WireError(f"not a model list: a name must have 1 to {MAX_NAME_CHARS} characters")
    if model.max_model_len is not None and model.max_model_len < 1:
        raise WireError("not a model list: max_model_len must be positive")
    return ServedModel(
        model.id, model.max_model_len, int(model.created or 0), model.owned_by or "unknown"
    )


def check_aliases(aliases: Aliases) -> None:
    """Refuse aliases that cannot be resolved in one step.

    Raises:
        ConfigError: Empty names, an alias of itself or of another alias, a model named twice.
    """
    for alias, targets in aliases.items():
        names = [target.model for target in targets]
        if not alias or not all(names):
            raise ConfigError(f"aliases: {alias!r}: {names!r}: names must not be empty")
        for name in names:
            if name == alias:
                raise ConfigError(f"aliases: {alias!r} stands for itself; remove it")
            if name in aliases:
                raise ConfigError(
                    f"aliases: {alias!r} leads to {name!r}, which is an alias itself; "
                    "name the served model instead"
                )
            if names.count(name) > 1:
                raise ConfigError(
                    f"aliases: {alias!r} names {name!r} more than once; add up its weights"
                )


def check_fallbacks(fallbacks: Mapping[str, str], aliases: Aliases) -> None:
    """Refuse fallbacks that are not one step from a served model to another.

    Raises:
        ConfigError: Empty names, a model that falls back to itself, a chain, an alias.
    """
    for model, fallback in fallbacks.items():
        if not model or not fallback:
            raise ConfigError(f"fallbacks: {model!r}: {fallback!r}: names must not be empty")
        if model == fallback:
            raise ConfigError(f"fallbacks: {model!r} falls back to itself; remove it")
        if fallback in fallbacks:
            raise ConfigError(
                f"fallbacks: {model!r} leads to {fallback!r}, which has a fallback itself; "
                "only one step is taken"
            )
        for name in (model, fallback):
            if name in aliases:
                raise ConfigError(f"fallbacks: {name!r} is an alias; name the served model instead")


def pick_target(targets: Sequence[Target], split_key: bytes) -> str:
    """Which of several served names a conversation gets; the same in every process.

    Each gets its weight's share of all keys. One that is missing leaves its share to the others,
    and no conversation of theirs moves (weighted rendezvous hashing).

    Args:
        targets: At least one.
        split_key: Names the conversation.
    """
    if len(targets) == 1:
        return targets[0].model
    return max(targets, key=lambda target: _draw(target, split_key)).model


def _draw(target: Target, split_key: bytes) -> float:
    digest = blake2b(target.model.encode() + b"\0" + split_key, digest_size=8).digest()
    # 52 bits and a half: neither 0 nor 1 whatever is drawn.
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
    return target.weight / -log(uniform)


def merge_models(
    backends: Iterable[Mapping[str, ServedModel]], aliases: Aliases
) -> tuple[CatalogueEntry, ...]:
    """One catalogue out of many model lists, sorted by name.

    The outcome depends on the order of ``backends`` in ``owned_by`` only. Aliases of models that
    nobody lists are left out.
    """
    merged: dict[str, CatalogueEntry] = {}
    for models in backends:
        for model in models.values():
            merged[model.name] = _joined(merged.get(model.name), model)
    entries = {name: entry for name, entry in merged.items() if name not in aliases}
    for alias, targets in aliases.items():
        found = [merged[target.model] for target in targets if target.model in merged]
        if found:
            entries[alias] = _alias_entry(alias, found)
    return tuple(entries[name] for name in sorted(entries))


def _alias_entry(alias: str, targets: Sequence[CatalogueEntry]) -> CatalogueEntry:
    lengths = [entry.max_model_len for entry in targets if entry.max_model_len is not None]
    return CatalogueEntry(
        alias,
        min(lengths, default=None),
        min(entry.created for entry in targets),
        targets[0].owned_by,
        tuple(entry.name for entry in targets),
    )


def _joined(entry: CatalogueEntry | None, model: ServedModel) -> CatalogueEntry:
    if entry is None:
        return CatalogueEntry(model.name, model.max_model_len, model.created, model.owned_by)
    lengths = [size for size in (entry.max_model_len, model.max_model_len) if size is not None]
    return CatalogueEntry(
        entry.name,
        min(lengths, default=None),
        min(entry.created, model.created),
        entry.owned_by,
    )
