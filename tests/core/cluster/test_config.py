"""Where the API server is, from a pod's files or from a kubeconfig."""

import base64
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from alise_cluster.config import in_cluster
from alise_cluster.loading import load_config
from alise_core.errors import ConfigError
from fakes.api_server import FakeApiServer
from fakes.clock import FakeClock

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "dev",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:7001/"}}],
    "users": [{"name": "u", "user": {"token": "secret"}}],
    "contexts": [
        {"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
        {"name": "bare", "context": {"cluster": "c", "user": "u"}},
    ],
}


def authority() -> str:
    """Any certificate that OpenSSL knows."""
    context = ssl.create_default_context()
    return ssl.DER_cert_to_PEM_cert(context.get_ca_certs(binary_form=True)[0])


def service_account(directory: Path) -> Path:
    (directory / "ca.crt").write_text(authority())
    (directory / "token").write_text("t0ken\n")
    (directory / "namespace").write_text("ns\n")
    return directory


async def test_in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")

    config = in_cluster(FakeClock(), service_account(tmp_path))

    assert (config.server, config.namespace) == ("https://[fd00::1]:6443", "ns")
    assert config.tls is not None
    assert config.tls.verify_mode is ssl.CERT_REQUIRED
    assert await config.credentials.headers() == {"authorization": "Bearer t0ken"}


def test_outside_of_a_pod_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(ConfigError, match="not in a pod"):
        load_config(None, None)


async def test_a_pod_without_a_service_account_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    with pytest.raises(ConfigError, match="automountServiceAccountToken"):
        in_cluster(FakeClock(), tmp_path)

    service_account(tmp_path)
    (tmp_path / "token").unlink()
    config = in_cluster(FakeClock(), tmp_path)
    with pytest.raises(ConfigError, match="automountServiceAccountToken"):
        await config.credentials.headers()


async def test_a_kubeconfig(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(KUBECONFIG))

    config = load_config(file, None)

    assert (config.server, config.namespace, config.tls) == ("http://127.0.0.1:7001", "team", None)
    assert await config.credentials.headers() == {"authorization": "Bearer secret"}
    assert load_config(file, "bare").namespace == "default"


async def test_a_kubeconfig_with_certificates(tmp_path: Path) -> None:
    file = tmp_path / "config"
    data = base64.b64encode(authority().encode()).decode()
    cluster = {"server": "https://api.example:6443", "certificate-authority-data": data}
    file.write_text(yaml.safe_dump({**KUBECONFIG, "clusters": [{"name": "c", "cluster": cluster}]}))

    tls = load_config(file, None).tls

    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert len(tls.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("content", "context"),
    [(yaml.safe_dump(KUBECONFIG), "missing"), ("{", None), ("[]", None), ("a: b", None)],
)
def test_an_unusable_kubeconfig_is_named(tmp_path: Path, content: str, context: str | None) -> None:
    file = tmp_path / "config"
    file.write_text(content)

    with pytest.raises(ConfigError, match=str(file)):
        load_config(file, context)


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_config(tmp_path / "nowhere", None)
    with pytest.raises(ConfigError, match="needs a kubeconfig"):
        load_config(None, "dev")


def test_in_a_pod_the_official_client_is_not_loaded() -> None:
    code = (
        "import sys, alise_cluster.client, alise_cluster.reflector, alise_cluster.election\n"
        "import alise_cluster.events, alise_cluster.status\n"
        "sys.exit('kubernetes' in sys.modules or 'aiohttp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603  our own text
    assert done.returncode == 0


async def test_the_fake_server_is_reached_by_a_kubeconfig(tmp_path: Path) -> None:
    from alise_cluster.client import load_cluster  # noqa: PLC0415

    server = await FakeApiServer(token="secret").start()
    file = tmp_path / "config"
    cluster = {"name": "c", "cluster": {"server": server.url}}
    file.write_text(yaml.safe_dump({**KUBECONFIG, "clusters": [cluster]}))
    client = load_cluster(file, None)

    listing = await client.request("GET", "/api/v1/namespaces/team/pods")

    assert listing["items"] == []
    await client.close()
    await server.stop()
