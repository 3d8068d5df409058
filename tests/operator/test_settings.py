from pathlib import Path

import pytest

from alise_core.errors import ConfigError
from alise_operator.settings import load_settings, parse_labels


def test_defaults_are_of_use() -> None:
    settings = load_settings({})

    assert settings.lease_name == "alise-operator"
    assert (settings.metrics_host, settings.metrics_port) == ("127.0.0.1", 9090)
    assert settings.namespace is None


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALISE_OPERATOR_LEASE_NAME", "from-the-environment")
    monkeypatch.setenv("ALISE_OPERATOR_KUBECONFIG", "/etc/kube")

    settings = load_settings({"lease_name": "from-a-flag"})

    assert settings.lease_name == "from-a-flag"
    assert settings.kubeconfig == Path("/etc/kube")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"metrics_port": 70_000}, "--metrics-port or ALISE_OPERATOR_METRICS_PORT.*70000"),
        ({"lease_name": "Not A Name"}, "--lease-name.*'Not A Name'"),
        ({"lease_seconds": 1}, "--lease-seconds.*greater than or equal to 3"),
        ({"log_level": "loud"}, "--log-level.*'loud'"),
        ({"namespace": "a", "all_namespaces": True}, "either namespace or all_namespaces"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_what_is_wrong_is_named(flags: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(flags)


def test_labels_are_read() -> None:
    assert parse_labels("app=alise, component==gateway") == {"app": "alise", "component": "gateway"}


@pytest.mark.parametrize("text", ["", "app", "app in (a)", "app!=a", "=a", "a=b=c"])
def test_what_is_not_understood_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="KEY=VALUE"):
        parse_labels(text)


def test_a_selector_that_is_not_understood_is_refused_with_its_flag() -> None:
    with pytest.raises(ConfigError, match=r"--gateway-selector.*KEY=VALUE"):
        load_settings({"gateway_selector": "app in (gateway)"})
