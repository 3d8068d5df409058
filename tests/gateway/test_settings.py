"""Sources of settings, and which of them wins."""

from pathlib import Path

import pytest

from alise_core.errors import ConfigError
from alise_core.policy import OrderingName, SchedulingPolicy
from alise_core.service_class import ServiceClass
from alise_gateway.settings import AliasTarget, GatewaySettings, IdentitySettings, load_settings


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alise.yaml"
    path.write_text(
        "host: 10.0.0.1\nport: 1\nadmin_port: 2\n"
        "timeouts: {connect_seconds: 7, idle_seconds: 8, total_seconds: 9}\n"
    )
    monkeypatch.setenv("ALISE_GATEWAY_PORT", "3")
    monkeypatch.setenv("ALISE_GATEWAY_TIMEOUTS__IDLE_SECONDS", "80")
    settings = load_settings(path, {"admin_port": 4, "timeouts": {"total_seconds": 90}})
    assert (settings.host, settings.port, settings.admin_port) == ("10.0.0.1", 3, 4)
    timeouts = settings.timeouts
    # Groups are merged field by field, not replaced.
    assert (timeouts.connect_seconds, timeouts.idle_seconds, timeouts.total_seconds) == (7, 80, 90)
    assert timeouts.body_seconds == GatewaySettings().timeouts.body_seconds


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "alise.yaml"
    path.write_text("")
    assert load_settings(path, {}).model_dump() == GatewaySettings().model_dump()


@pytest.mark.parametrize("tier1", ["auto", "on", "off"])
def test_yaml_may_say_on_and_off_without_quotes(tmp_path: Path, tier1: str) -> None:
    path = tmp_path / "alise.yaml"
    path.write_text(f"predictor: {{tier1: {tier1}}}")
    assert load_settings(path, {}).predictor.tier1 == tier1


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        GatewaySettings().port = 5


def test_a_backend_keeps_its_path_and_loses_its_last_slash() -> None:
    settings = load_settings(None, {"backends": [{"url": "https://a.example/engine/"}]})
    assert settings.backends[0].url == "https://a.example/engine"


@pytest.mark.parametrize(
    "fields",
    [
        {"jwt_issuer": "https://a"},
        {"jwt_issuer": "https://a", "jwt_audience": "b"},
        {"jwks_url": "https://a/jwks"},
        {"jwt_issuer": "a", "jwt_audience": "b", "jwks_url": "https://a", "jwks_file": "/a"},
    ],
)
def test_half_a_configuration_of_tokens_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="JWT needs"):
        load_settings(None, {"identity": fields})


def test_a_long_value_is_cut_in_the_error() -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings(None, {"port": "x" * 5000})
    assert len(str(raised.value)) < 300


def test_a_whole_configuration_of_tokens_is_taken() -> None:
    identity = IdentitySettings(jwt_issuer="a", jwt_audience="b", jwks_url="https://a")
    assert identity.jwt_tenant_claim == "sub"


def test_an_alias_leads_to_one_model_or_to_several_with_weights(tmp_path: Path) -> None:
    path = tmp_path / "alise.yaml"
    path.write_text(
        "aliases:\n  nick: m\n  chat:\n  - {model: m, weight: 95}\n  - {model: n, weight: 5}\n"
        "fallbacks: {m: n}\n"
    )
    settings = load_settings(path, {})
    assert settings.aliases == {
        "nick": "m",
        "chat": (AliasTarget(model="m", weight=95), AliasTarget(model="n", weight=5)),
    }
    assert settings.fallbacks == {"m": "n"}


def test_a_variable_may_state_aliases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALISE_GATEWAY_ALIASES", '{"chat": [{"model": "m", "weight": 1}], "n": "m"}')
    monkeypatch.setenv("ALISE_GATEWAY_FALLBACKS", '{"m": "x"}')
    settings = load_settings(None, {})
    assert settings.aliases == {"chat": (AliasTarget(model="m", weight=1),), "n": "m"}
    assert settings.fallbacks == {"m": "x"}


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ([], "aliases.chat"),
        (7, "aliases.chat"),
        ([{"model": "m"}], "weight"),
        ([{"model": "m", "weight": 0}], "weight"),
        ([{"model": "m", "weight": 1_000_001}], "weight"),
        ([{"model": "m", "weight": 0.5}], "weight"),
        ([{"model": "m", "weight": 1, "share": 2}], "share"),
    ],
)
def test_a_wrong_share_is_refused_by_its_name(target: object, where: str) -> None:
    with pytest.raises(ConfigError, match=rf"aliases\.chat.*{where.removeprefix('aliases.chat')}"):
        load_settings(None, {"aliases": {"chat": target}})


def test_settings_become_the_policy_that_the_queue_obeys() -> None:
    flags = {
        "queue": {"ttl_seconds": 90, "max_waiting": 7},
        "scheduling": {
            "ordering": "tool-aware",
            "classes": {"batch": {"ttl_seconds": 5, "trickle_share": 0.2, "max_waiting": 3}},
        },
    }
    policy = load_settings(None, flags).policy()
    assert policy.max_waiting == 7
    assert policy.ordering.name is OrderingName.TOOL_AWARE
    batch, default = policy.classes[ServiceClass.BATCH], policy.classes[ServiceClass.DEFAULT]
    assert (batch.ttl_seconds, batch.trickle_share, batch.max_waiting) == (5, 0.2, 3)
    assert (default.ttl_seconds, default.trickle_share, default.max_waiting) == (90, 0.0, None)
    flex = policy.classes[ServiceClass.FLEX]
    assert flex.ttl_seconds == 300, "what may wait keeps its longer patience"


def test_without_settings_the_policy_is_the_default() -> None:
    assert load_settings(None, {}).policy() == SchedulingPolicy()


@pytest.mark.parametrize(
    "scheduling",
    [
        {"ordering": "random"},
        {"gamma": 0},
        {"admission_quantile": 0.9, "high_admission_quantile": 0.5},
        {"classes": {"gold": {}}},
        {"classes": {"flex": {"trickle_share": 0.9}}},
    ],
)
def test_wrong_scheduling_is_refused_by_name(scheduling: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="scheduling"):
        load_settings(None, {"scheduling": scheduling})
