"""From Tenants and Secrets to keys."""

import hashlib

from alise_core.crds.book import ObjectBook
from alise_core.crds.names import Kind, ObjectKey
from alise_core.service_class import ServiceClass
from alise_gateway.discovery.kubernetes.key_secrets import (
    Readable,
    Secret,
    read_secret,
    trim_secret,
)
from alise_gateway.discovery.kubernetes.tenants import secrets_of, tenant_keys
from alise_gateway.domain.request import TenantLimits
from alise_gateway.domain.tenant_keys import TenantKeys
from fakes.api_server_store import Raw
from fakes.cluster import secret, tenant

KEY, OTHER = "first-key-of-sixteen", "other-key-of-sixteen"


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def resolved(
    tenants: list[Raw], secrets: dict[str, Secret] | None = None
) -> tuple[dict[str, TenantKeys], list[str]]:
    book = ObjectBook(Kind.TENANT)
    for number, raw in enumerate(tenants):
        raw["metadata"] = {
            "namespace": "ns",
            "creationTimestamp": f"2026-01-01T00:00:{number:02}Z",
        } | raw["metadata"]
        book.put(raw)
    known = {ObjectKey("ns", name): found for name, found in (secrets or {}).items()}
    found, problems = tenant_keys(book.items(), known)
    return {item.tenant.id: item for item in found}, [str(problem) for problem in problems]


def holding(**entries: str) -> Secret:
    return read_secret(trim_secret(secret("keys", **entries)))


def test_a_tenant_is_who_its_object_says() -> None:
    found, problems = resolved(
        [
            tenant(
                "team-a",
                "keys",
                weight=2,
                allowedModels=["m"],
                maySchedule=True,
                highestClass="priority",
                defaultClass="flex",
                limits={"requestsPerMinute": 60, "maxInFlight": 3},
            )
        ],
        {"keys": holding(a=KEY, b=f"sha256:{digest(OTHER).hex()}\n")},
    )

    team = found["team-a"].tenant
    assert (team.weight, team.allowed_models, team.may_schedule) == (2, frozenset({"m"}), True)
    assert (team.highest_class, team.default_class) == (ServiceClass.PRIORITY, ServiceClass.FLEX)
    assert team.limits == TenantLimits(requests_per_minute=60, max_in_flight=3)
    assert set(found["team-a"].digests) == {digest(KEY), digest(OTHER)}
    assert problems == []


def test_keys_are_named_or_all_of_a_secret() -> None:
    raw = tenant("team-a")
    raw["spec"]["apiKeySecretRefs"] = [{"name": "keys", "key": "a"}, {"name": "more"}]
    found, _ = resolved(
        [raw], {"keys": holding(a=KEY, b=OTHER), "more": holding(x="a-third-key-of-sixteen")}
    )

    assert set(found["team-a"].digests) == {digest(KEY), digest("a-third-key-of-sixteen")}


def test_a_secret_that_is_gone_takes_its_keys_away_and_one_not_read_yet_is_no_problem() -> None:
    raws = [tenant("team-a", "gone", "unread", "forbidden")]
    found, problems = resolved(
        raws,
        {
            "gone": Secret(Readable.MISSING),
            "unread": Secret(),
            "forbidden": Secret(Readable.FORBIDDEN),
        },
    )

    assert found["team-a"].digests == ()
    assert problems == [
        "Tenant ns/team-a: Secret gone does not exist; create it",
        "Tenant ns/team-a: Secret forbidden may not be read; grant it by resourceNames",
    ]


def test_entries_that_are_no_keys_are_told_without_their_values() -> None:
    found, problems = resolved(
        [tenant("team-a", "keys")],
        {"keys": holding(short="tiny", hash="sha256:12", spaces="a key with spaces", good=KEY)},
    )

    assert found["team-a"].digests == (digest(KEY),)
    assert [problem.removeprefix("Tenant ns/team-a: entry ") for problem in problems] == [
        "hash of Secret keys must have 64 lower-case hex digits after sha256:",
        "short of Secret keys is shorter than 16 characters; make it longer",
        "spaces of Secret keys must be one key: printable characters, no spaces, one line",
    ]
    assert "tiny" not in str(problems)


def test_a_key_belongs_to_the_older_tenant() -> None:
    found, problems = resolved(
        [tenant("old", "keys"), tenant("young", "keys")], {"keys": holding(a=KEY)}
    )

    assert (found["old"].digests, found["young"].digests) == ((digest(KEY),), ())
    assert problems == ["Tenant ns/young: a key of it is a key of tenant old already"]


def test_names_that_cannot_be_are_told() -> None:
    elsewhere = tenant("team-a")
    elsewhere["metadata"]["namespace"] = "other"
    found, problems = resolved(
        [tenant("team-a"), elsewhere, tenant("anonymous"), tenant("x" * 129)]
    )

    assert list(found) == ["team-a"]
    assert [problem.partition(": ")[2] for problem in problems] == [
        "a tenant of this name in another namespace is older; choose another name",
        "the name anonymous is reserved for requests without credentials; choose another",
        "the name is longer than 128 characters; choose a shorter one",
    ]


def test_an_invalid_change_leaves_the_tenant_as_it_was() -> None:
    book = ObjectBook(Kind.TENANT)
    for spec in ({"weight": 2}, {"weight": -1}):
        raw = tenant("team-a", **spec)
        raw["metadata"] |= {"namespace": "ns", "uid": "u"}
        book.put(raw)

    found, problems = tenant_keys(book.items(), {})

    assert [item.tenant.weight for item in found] == [2]
    assert "spec.weight" in str(problems[0])


def test_which_secrets_are_to_be_read() -> None:
    book = ObjectBook(Kind.TENANT)
    leaving = tenant("b", "other")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for raw in (tenant("a", "one", "two"), leaving):
        raw["metadata"]["namespace"] = "ns"
        book.put(raw)

    assert secrets_of(book.items()) == {ObjectKey("ns", "one"), ObjectKey("ns", "two")}


def test_nothing_shows_a_key() -> None:
    found, _ = resolved([tenant("team-a", "keys")], {"keys": holding(a=KEY)})

    assert KEY not in repr(holding(a=KEY))
    assert digest(KEY).hex() not in repr(found)
    assert repr(digest(KEY)) not in repr(found)


def test_entries_that_are_not_base64_are_left_out() -> None:
    raw = {"data": {"good": "YQ==", "bad": "!", "worse": 7}}

    assert read_secret(trim_secret(raw)).entries == {"good": b"a"}
    assert read_secret({"data": 7}).entries == {}
