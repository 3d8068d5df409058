"""The settings of ``kubernetes``."""

from pathlib import Path

import pytest

from alise_core.errors import ConfigError
from alise_gateway.app import Gateway
from alise_gateway.settings import GatewaySettings, load_settings


def test_a_file_and_variables_say_together_what_the_chart_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "alise.yaml"
    file.write_text(
        "kubernetes:\n  enabled: true\n"
        "  peers_selector: app.kubernetes.io/name=alise,app.kubernetes.io/component=gateway\n"
    )
    monkeypatch.setenv("ALISE_GATEWAY_KUBERNETES__POD_NAME", "gateway-0")

    settings = load_settings(file, {}).kubernetes

    assert (settings.enabled, settings.pod_name) == (True, "gateway-0")
    assert settings.serve_inference_pools
    assert not settings.all_namespaces


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ({"namespace": "a", "all_namespaces": True}, "exclude each other"),
        ({"namespace": "No Such"}, "kubernetes.namespace"),
        ({"peers_selector": "app in (a)", "pod_name": "x"}, "must look like name=value"),
        ({"peers_selector": "app=a"}, "downward API"),
        ({"sync_seconds": 0}, "kubernetes.sync_seconds"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(said: dict[str, object], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        load_settings(None, {"kubernetes": said})


async def test_without_a_cluster_to_be_found_the_start_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    settings = GatewaySettings.model_validate({"port": 0, "kubernetes": {"enabled": True}})

    with pytest.raises(ConfigError, match="not in a pod"):
        Gateway(settings, None)
