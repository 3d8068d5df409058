"""From Tenants and their Secrets to keys. Pure.

A tenant's id is its object's name. Where two objects or two entries claim the same name or the same
key, the older object's claim counts and the other is reported.
"""

from collections.abc import Iterable

from alise_core.crds.book import Stored
from alise_core.crds.names import Kind, ObjectKey
from alise_core.crds.tenant import TenantSpec
from alise_core.units import TenantId
from alise_gateway.discovery.kubernetes.key_secrets import (
    NotReadYet,
    Secret,
    Secrets,
    UnusableSecret,
    entries_of,
    key_digest,
)
from alise_gateway.discovery.kubernetes.problems import Problem, invalid
from alise_gateway.domain.request import ANONYMOUS, Tenant, TenantLimits
from alise_gateway.domain.tenant_keys import TenantKeys

_MOST_NAME_CHARS = 128
"""It becomes a metric label."""


def tenant_keys(
    tenants: Iterable[Stored[TenantSpec]], secrets: Secrets
) -> tuple[list[TenantKeys], list[Problem]]:
    """Everybody who may call, with their keys, and what is wrong with the rest."""
    found: list[TenantKeys] = []
    problems: list[Problem] = []
    names: set[str] = set()
    owners: dict[bytes, str] = {}
    for item in sorted(tenants, key=_age):
        problems += invalid(Kind.TENANT, item.namespace, item.name, item.problems)
        if item.spec is None or item.deleted:
            continue
        unusable = _unusable_name(item.name, names)
        if unusable:
            problems.append(_problem(item, unusable))
            continue
        names.add(item.name)
        digests, wrong = _digests(item, item.spec, secrets)
        for digest in [digest for digest in digests if owners.get(digest, item.name) != item.name]:
            digests.remove(digest)
            wrong.append(f"a key of it is a key of tenant {owners[digest]} already")
        owners |= dict.fromkeys(digests, item.name)
        problems += [_problem(item, text) for text in wrong]
        found.append(TenantKeys(_tenant(item.name, item.spec), tuple(digests)))
    return found, problems


def secrets_of(tenants: Iterable[Stored[TenantSpec]]) -> set[ObjectKey]:
    """The Secrets that have to be read for this."""
    return {
        ObjectKey(item.namespace, ref.name)
        for item in tenants
        if item.spec is not None and not item.deleted
        for ref in item.spec.api_key_secret_refs
    }


def _digests(
    item: Stored[TenantSpec], spec: TenantSpec, secrets: Secrets
) -> tuple[list[bytes], list[str]]:
    digests: list[bytes] = []
    wrong: list[str] = []
    for ref in spec.api_key_secret_refs:
        secret = secrets.get(ObjectKey(item.namespace, ref.name), Secret())
        try:
            entries = entries_of(secret, ref)
        except NotReadYet:
            continue
        except UnusableSecret as error:
            wrong.append(str(error))
            continue
        for name, value in sorted(entries.items()):
            try:
                digest = key_digest(value, f"entry {name} of Secret {ref.name}")
            except UnusableSecret as error:
                wrong.append(str(error))
            else:
                if digest not in digests:
                    digests.append(digest)
    return digests, wrong


def _tenant(name: str, spec: TenantSpec) -> Tenant:
    limits = spec.limits
    return Tenant(
        id=TenantId(name),
        allowed_models=None if spec.allowed_models is None else frozenset(spec.allowed_models),
        may_schedule=spec.may_schedule,
        weight=spec.weight,
        default_class=spec.default_class,
        highest_class=spec.highest_class,
        limits=TenantLimits(
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            max_waiting=limits.max_waiting,
            max_in_flight=limits.max_in_flight,
        ),
    )


def _unusable_name(name: str, taken: set[str]) -> str:
    if name == ANONYMOUS.id:
        return f"the name {name} is reserved for requests without credentials; choose another"
    if len(name) > _MOST_NAME_CHARS:
        return f"the name is longer than {_MOST_NAME_CHARS} characters; choose a shorter one"
    if name in taken:
        return "a tenant of this name in another namespace is older; choose another name"
    return ""


def _age(item: Stored[TenantSpec]) -> tuple[bool, str, str, str]:
    return (not item.created, item.created, item.namespace, item.name)


def _problem(item: Stored[TenantSpec], message: str) -> Problem:
    return Problem(Kind.TENANT.value, item.namespace, item.name, message)
