import contextlib
import hashlib
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import ConfigError
from alise_core.service_class import ServiceClass
from alise_core.units import TenantId
from alise_gateway.domain.request import NO_LIMITS, Tenant, TenantLimits
from alise_gateway.identity.keys import (
    KeyTable,
    check_tenant_id,
    create_key,
    hash_key,
    parse_keys,
)

KEY = "sk-alise-" + "k" * 43
HASH = hash_key(KEY)


def parse(text: str) -> KeyTable:
    return parse_keys(text.encode(), "keys.yaml")


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def test_a_key_opens_its_tenant_with_its_limits() -> None:
    table = parse(f"""
tenants:
  - id: team-a
    keys:
      - hash: {HASH}
        name: laptop
    allowed_models: [small, large]
    may_schedule: true
  - id: team-b
""")
    record = table.find(digest(KEY))
    assert record is not None
    assert record.tenant.id == "team-a"
    assert record.tenant.allowed_models == frozenset({"small", "large"})
    assert record.tenant.may_schedule
    assert record.expires_unix is None
    assert table.tenant(TenantId("team-b")) is not None
    assert table.tenant(TenantId("team-c")) is None
    assert len(table) == 1


ONE_KEY = parse(f"tenants: [{{id: a, keys: [{{hash: '{HASH}'}}]}}]")


@given(st.text(max_size=80).filter(lambda key: key != KEY))
def test_nothing_else_opens_it(key: str) -> None:
    assert ONE_KEY.find(hashlib.sha256(key.encode(errors="replace")).digest()) is None


def test_every_tenant_may_use_every_model_unless_told_otherwise() -> None:
    record = ONE_KEY.find(digest(KEY))
    assert record is not None
    assert record.tenant.allowed_models is None
    assert not record.tenant.may_schedule


def test_an_empty_list_of_models_allows_none() -> None:
    tenant = parse("tenants: [{id: a, allowed_models: []}]").tenant(TenantId("a"))
    assert tenant is not None
    assert tenant.allowed_models == frozenset()


def only_tenant(fields: str) -> Tenant:
    tenant = parse(f"tenants: [{{id: a, {fields}}}]").tenant(TenantId("a"))
    assert tenant is not None
    return tenant


def test_a_tenant_has_a_weight_classes_and_limits() -> None:
    tenant = only_tenant(
        "weight: 2.5, highest_class: priority, default_class: scale, requests_per_minute: 600,"
        " tokens_per_minute: 0.5, max_waiting: 7, max_in_flight: 1"
    )
    assert tenant.weight == 2.5
    assert tenant.highest_class is ServiceClass.PRIORITY
    assert tenant.default_class is ServiceClass.SCALE
    assert tenant.limits == TenantLimits(600, 0.5, 7, 1)


def test_without_them_it_is_an_ordinary_tenant() -> None:
    tenant = only_tenant("keys: []")
    assert tenant == Tenant(TenantId("a"))
    assert tenant.limits == NO_LIMITS
    assert (tenant.weight, tenant.default_class) == (1.0, ServiceClass.DEFAULT)


@pytest.mark.parametrize("highest", list(ServiceClass))
def test_a_default_class_that_is_not_stated_is_never_above_the_highest(
    highest: ServiceClass,
) -> None:
    tenant = only_tenant(f"highest_class: {highest}")
    assert tenant.default_class is ServiceClass.DEFAULT.clamped(highest)


@pytest.mark.parametrize("highest", list(ServiceClass))
@pytest.mark.parametrize("default", list(ServiceClass))
@pytest.mark.parametrize("swapped", [False, True])
def test_a_default_class_above_the_highest_is_a_mistake(
    highest: ServiceClass, default: ServiceClass, swapped: bool
) -> None:
    fields = [f"highest_class: {highest}", f"default_class: {default}"]
    text = ", ".join(reversed(fields) if swapped else fields)
    if default.rank >= highest.rank:
        assert only_tenant(text).default_class is default
        return
    with pytest.raises(ConfigError, match=rf"tenant 'a': default_class: '{default}' is better"):
        only_tenant(text)


@pytest.mark.parametrize("field", ["requests_per_minute", "tokens_per_minute", "weight"])
@pytest.mark.parametrize("value", ["0", "-1", ".nan", ".inf", "'5'", "true", "1000000001"])
def test_rates_and_weights_are_positive_numbers(field: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"tenant 'a': {field}: Input should be"):
        only_tenant(f"{field}: {value}")


@pytest.mark.parametrize("field", ["max_waiting", "max_in_flight"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "'5'", "true", "1000000001"])
def test_places_are_counted_from_one(field: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"tenant 'a': {field}: Input should be"):
        only_tenant(f"{field}: {value}")


@pytest.mark.parametrize("field", ["default_class", "highest_class"])
@pytest.mark.parametrize("value", ["Default", "gold", "0", "[]"])
def test_a_class_is_one_of_the_names(field: str, value: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^keys file keys\.yaml: tenant 'a': {field}: .*'batch'"
    ):
        only_tenant(f"{field}: {value}")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("'2027-01-31T12:00:00+00:00'", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T14:00:00+02:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("'2027-01-31'", datetime(2027, 1, 31, tzinfo=UTC)),
    ],
)
def test_expiry_is_a_moment(written: str, meant: datetime) -> None:
    table = parse(f"tenants: [{{id: a, keys: [{{hash: '{HASH}', expires: {written}}}]}}]")
    record = table.find(digest(KEY))
    assert record is not None
    assert record.expires_unix == meant.timestamp()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a mapping with 'tenants'"),
        ("[]", "must hold a mapping with 'tenants'"),
        ("{}", "tenants: Field required"),
        ("tenants: {}", "tenants: Input should be a valid list"),
        ("tenants: [{id: [}", "not valid YAML near line 1"),
        ("tenants: [7]", "tenant number 1: entry: Input should be"),
        ("tenants: [{keys: []}]", "tenant number 1: id: Field required"),
        ("tenants: [{id: 'two words'}]", "tenant number 1: id: must be 1 to 128"),
        ("tenants: [{id: anonymous}]", "id: 'anonymous' is reserved"),
        ("tenants: [{id: a, alowed_models: []}]", "tenant 'a': alowed_models: Extra inputs"),
        ("tenants: [{id: a, may_schedule: 'yes'}]", "tenant 'a': may_schedule: Input should be"),
        ("tenants: [{id: a, allowed_models: small}]", "tenant 'a': allowed_models: Input"),
        ("tenants: [{id: a}, {id: a}]", "tenant 'a': id appears more than once"),
        (
            f"tenants: [{{id: a, keys: [{{hash: '{HASH}', expires: soon}}]}}]",
            r"tenant 'a': keys\.0\.expires: must look like 2027",
        ),
        (
            f"tenants: [{{id: a, keys: [{{hash: '{HASH}', expires: 2027-01-31T12:00:00}}]}}]",
            "needs a time zone",
        ),
        (
            f"tenants: [{{id: a, keys: [{{hash: '{HASH}'}}]}},"
            f" {{id: b, keys: [{{hash: '{HASH}'}}]}}]",
            r"tenant 'b': keys\.0\.hash is a key of tenant 'a'",
        ),
    ],
)
def test_mistakes_name_file_tenant_field_and_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^keys file keys\.yaml.*{message}"):
        parse(text)


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    "text",
    [
        f"tenants: [{{id: a, keys: [{{hash: {KEY}}}]}}]",
        f"tenants: [{{id: a, keys: [{{hash: 'sha256:{KEY}'}}]}}]",
        f"tenants: [{{id: a, keys: [{KEY}]}}]",
        f"tenants: [{{id: a, keys: {KEY}}}]",
        f"tenants: [{{id: {KEY} {KEY}}}]",
        f"tenants: [{{id: a, keys: [{{hash: {KEY}",
        f"tenants: [{{id: a, keys: [{{hash: !secret {KEY}}}]}}]",
        KEY,
    ],
)
def test_a_plaintext_key_in_the_file_is_refused_without_repeating_it(
    text: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml, "CSafeLoader", getattr(yaml, loader))
    with pytest.raises(ConfigError) as refused:
        parse(text)
    # With its causes, as a log of the exception would show it; without our own source lines.
    shown = [str(refused.value)]
    if not refused.value.__suppress_context__ or refused.value.__cause__:
        shown.append(str(refused.value.__cause__ or refused.value.__context__))
    assert "kkkk" not in "\n".join(shown)


def test_yaml_cannot_build_objects() -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse("tenants: !!python/object/apply:os.getcwd []")


def test_keys_are_random_long_and_safe_in_headers() -> None:
    keys = {create_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert key.startswith("sk-alise-")
        assert len(key) == 52
        assert key.removeprefix("sk-alise-").replace("-", "").replace("_", "").isalnum()


def test_hash_is_what_sha256sum_prints() -> None:
    assert hash_key("abc") == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize(
    "name", ["team-a", "a", "system:serviceaccount:apps:chat", "auth0|1234", "me@example.com"]
)
def test_usual_names_are_tenants(name: str) -> None:
    assert check_tenant_id(name) == name


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "-a", "ä", "a" * 129, "anonymous"])
def test_unusable_names_are_not(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be|reserved"):
        check_tenant_id(name)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.dates(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["tenants", "id", "keys", "hash", "expires", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_is_a_table_or_a_config_error(document: object) -> None:
    with contextlib.suppress(ConfigError):
        parse_keys(yaml.safe_dump(document).encode(), "keys.yaml")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_a_config_error(content: bytes) -> None:
    with contextlib.suppress(ConfigError):
        parse_keys(content, "keys.yaml")
