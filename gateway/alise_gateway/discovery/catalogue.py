"""What the backends together serve: pure functions over their model lists and the aliases.

An alias leads to a served name in one step. Where a backend serves a model under the very name of
an alias, the alias wins: what a name means is then settled by configuration and does not change
when a backend comes or goes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
        alias_of: The served name when this one is an alias.
    """

    name: str
    max_model_len: int | None
    created: int
    owned_by: str
    alias_of: str | None = None


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


def check_aliases(aliases: Mapping[str, str]) -> None:
    """Refuse aliases that cannot be resolved in one step.

    Raises:
        ConfigError: Empty names, an alias of itself or of another alias.
    """
    for alias, target in aliases.items():
        if not alias or not target:
            raise ConfigError(f"aliases: {alias!r}: {target!r}: names must not be empty")
        if alias == target:
            raise ConfigError(f"aliases: {alias!r} stands for itself; remove it")
        if target in aliases:
            raise ConfigError(
                f"aliases: {alias!r} leads to {target!r}, which is an alias itself; "
                "name the served model instead"
            )


def resolve_name(
    requested: str, aliases: Mapping[str, str], served: Mapping[str, object]
) -> str | None:
    """The served name behind a requested one; ``None`` when no backend lists it.

    Args:
        requested: As the client wrote it.
        aliases: Alias -> served name; checked by ``check_aliases``.
        served: Keyed by every name that some backend lists.
    """
    name = aliases.get(requested, requested)
    return name if name in served else None


def merge_models(
    backends: Iterable[Mapping[str, ServedModel]], aliases: Mapping[str, str]
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
    for alias, target in aliases.items():
        entry = merged.get(target)
        if entry is not None:
            entries[alias] = CatalogueEntry(
                alias, entry.max_model_len, entry.created, entry.owned_by, target
            )
    return tuple(entries[name] for name in sorted(entries))


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
