from alise_core.crds.names import Kind
from alise_operator.decide.references import Presence, SecretFacts
from alise_operator.decide.status import Verdict
from alise_operator.decide.tenant import decide_tenant
from fakes.custom_objects import Raw, a_tenant, condition, stored


def decide(*raws: Raw, **secrets: SecretFacts) -> Verdict:
    return decide_tenant(stored(Kind.TENANT, *raws), {}, secrets, 0.0)


def test_a_tenant_whose_keys_can_be_had() -> None:
    status = decide(a_tenant("a", "keys"), keys=SecretFacts(Presence.PRESENT)).status

    assert condition(status, "Accepted")["status"] == "True"
    assert condition(status, "ResolvedRefs")["status"] == "True"


def test_a_secret_that_is_missing() -> None:
    verdict = decide(a_tenant("a", "keys"), keys=SecretFacts(Presence.ABSENT))

    resolved = condition(verdict.status, "ResolvedRefs")
    assert (resolved["status"], resolved["reason"]) == ("False", "RefNotFound")
    assert resolved["message"].startswith("spec.apiKeySecretRefs[0]")
    assert [each.reason for each in verdict.announcements] == ["RefNotFound"]


def test_a_secret_that_the_operator_may_not_see() -> None:
    verdict = decide(a_tenant("a", "keys"), keys=SecretFacts(Presence.FORBIDDEN))

    resolved = condition(verdict.status, "ResolvedRefs")
    assert (resolved["status"], resolved["reason"]) == ("Unknown", "RefNotPermitted")
    assert "gateways read it" in resolved["message"]
    assert verdict.announcements == ()


def test_a_tenant_without_keys_is_accepted_and_told() -> None:
    accepted = condition(decide(a_tenant("a")).status, "Accepted")

    assert accepted["status"] == "True"
    assert "apiKeySecretRefs" in accepted["message"]


def test_an_invalid_tenant() -> None:
    status = decide(a_tenant("a", weight=0)).status

    accepted = condition(status, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "Invalid")
    assert "spec.weight" in accepted["message"]
    assert condition(status, "ResolvedRefs")["status"] == "Unknown"
