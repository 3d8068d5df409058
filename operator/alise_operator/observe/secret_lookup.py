"""Whether Secrets exist: asked for by name, their metadata only.

What is in a Secret is never asked for: the API server is told to leave everything but the metadata
away, and refuses where it cannot. Names of entries come from ``metadata.managedFields``, which say
who wrote which field.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from alise_cluster.client import ClusterClient
from alise_cluster.errors import FORBIDDEN, NOT_FOUND, ApiError
from alise_cluster.resources import SECRETS, RawObject
from alise_core.clock import Clock
from alise_operator.decide.raw import mapping_at, sequence_at
from alise_operator.decide.references import Presence, SecretFacts

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Source: Kubernetes documentation, "API concepts", "Metadata-only fetches"."""
_FORBIDDEN_FACTOR = 5
"""Permissions change rarely: a refusal is believed for this many times longer."""
_FIELD = "f:"


@dataclass(frozen=True, slots=True)
class _Answer:
    facts: SecretFacts
    until: float


class SecretLookup:
    """Asks, and remembers answers for a while.

    Args:
        client: Of the cluster.
        interval_seconds: How long an answer is believed.
        clock: Says when it is not any more.
    """

    def __init__(self, client: ClusterClient, interval_seconds: float, clock: Clock) -> None:
        self._client = client
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._answers: dict[tuple[str, str], _Answer] = {}

    async def facts(self, namespace: str, names: Iterable[str]) -> dict[str, SecretFacts]:
        """What is known of Secrets, by name.

        Raises:
            ClusterError: The API server does not answer.
        """
        self._forget_old()
        return {name: await self._fact(namespace, name) for name in sorted(set(names))}

    async def _fact(self, namespace: str, name: str) -> SecretFacts:
        known = self._answers.get((namespace, name))
        if known is not None:
            return known.facts
        facts = await self._ask(namespace, name)
        lasts = self._interval_seconds
        if facts.presence is Presence.FORBIDDEN:
            lasts *= _FORBIDDEN_FACTOR
        self._answers[namespace, name] = _Answer(facts, self._clock.now() + lasts)
        return facts

    async def _ask(self, namespace: str, name: str) -> SecretFacts:
        path = SECRETS.path(namespace, name)
        try:
            raw = await self._client.request("GET", path, accept=METADATA_ONLY)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return SecretFacts(Presence.ABSENT)
            if error.status == FORBIDDEN:
                return SecretFacts(Presence.FORBIDDEN)
            raise
        return SecretFacts(Presence.PRESENT, entry_names(raw))

    def _forget_old(self) -> None:
        now = self._clock.now()
        self._answers = {key: each for key, each in self._answers.items() if each.until > now}


def entry_names(raw: RawObject) -> frozenset[str] | None:
    """Names of a Secret's entries by its metadata; ``None`` where that says nothing of them."""
    names = {
        name.removeprefix(_FIELD)
        for written in sequence_at(mapping_at(raw, "metadata"), "managedFields")
        for name in _written_entries(mapping_at(written, "fieldsV1"))
        if name.startswith(_FIELD)
    }
    return frozenset(names) or None


def _written_entries(fields: Mapping[str, object]) -> Iterator[str]:
    yield from mapping_at(fields, "f:data")
    yield from mapping_at(fields, "f:stringData")
