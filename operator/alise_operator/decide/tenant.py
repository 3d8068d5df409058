"""The status of a Tenant: whether its keys can be had, never what they are. Pure."""

from collections.abc import Mapping

from alise_core.crds.book import Stored
from alise_core.crds.conditions import ConditionType, Reason
from alise_core.crds.tenant import TenantSpec
from alise_operator.decide.accepted import VALID, invalid
from alise_operator.decide.announcements import announce
from alise_operator.decide.conditions import Finding, merge, true, unknown
from alise_operator.decide.raw import sequence_at
from alise_operator.decide.references import (
    NamedSecret,
    SecretFacts,
    resolved,
    secret_problems,
)
from alise_operator.decide.status import Verdict


def decide_tenant(
    tenant: Stored[TenantSpec],
    standing: Mapping[str, object],
    secrets: Mapping[str, SecretFacts],
    unix: float,
) -> Verdict:
    """What the status of a tenant ought to say.

    Args:
        tenant: The object.
        standing: The status that stands there.
        secrets: Of its namespace, by name; what has not been asked for is missing.
        unix: Now, in seconds since the epoch.
    """
    findings = (_accepted(tenant), _resolved(tenant.spec, secrets))
    before = sequence_at(standing, "conditions")
    status = {
        "observedGeneration": tenant.generation,
        "conditions": merge(findings, before, tenant.generation, unix),
    }
    return Verdict(status, announce(findings, before))


def secrets_named(spec: TenantSpec | None) -> tuple[NamedSecret, ...]:
    """The Secrets that a tenant's spec refers to."""
    refs = () if spec is None else spec.api_key_secret_refs
    return tuple(
        NamedSecret(f"spec.apiKeySecretRefs[{index}]", ref) for index, ref in enumerate(refs)
    )


def _accepted(tenant: Stored[TenantSpec]) -> Finding:
    if tenant.problems:
        return invalid(tenant.problems, seen_good=tenant.spec is not None)
    message = VALID
    if tenant.spec is not None and not tenant.spec.api_key_secret_refs:
        message = "Without apiKeySecretRefs nobody can call as this tenant by an API key"
    return true(ConditionType.ACCEPTED, Reason.ACCEPTED, message)


def _resolved(spec: TenantSpec | None, secrets: Mapping[str, SecretFacts]) -> Finding:
    if spec is None:
        return unknown(ConditionType.RESOLVED_REFS, Reason.INVALID, "There is no valid spec.")
    return resolved(secret_problems(secrets_named(spec), secrets))
