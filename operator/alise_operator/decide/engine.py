"""What is known of one engine. A value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an endpoint's engines say of themselves.

    Attributes:
        capacity_tokens: KV cache of all engines behind the endpoint; ``None`` where one does not
            say it.
        cache_dtypes: As the engines name them, in order, each once.
        models: Names under which metrics are kept: the first ``--served-model-name`` of each.
    """

    capacity_tokens: int | None = None
    cache_dtypes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
