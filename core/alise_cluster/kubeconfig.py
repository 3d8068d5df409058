"""A kubeconfig file becomes a configuration: the only importer of the official client.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import yaml

from alise_cluster.config import ClusterConfig, HeaderSource
from alise_core.errors import ConfigError


class _Configuration(Protocol):
    """What is used of the official client's."""

    host: str
    ssl_ca_cert: str | None
    cert_file: str | None
    key_file: str | None
    verify_ssl: bool
    tls_server_name: str | None
    proxy: str | None
    username: str | None

    def get_api_key_with_prefix(self, identifier: str) -> str | None: ...

    def get_basic_auth_token(self) -> str | None: ...


def from_kubeconfig(file: Path, context: str | None) -> ClusterConfig:
    """The configuration that one context of a file stands for.

    Raises:
        ConfigError: The client is not installed, or the file, the context or what they name is
            unusable.
    """
    try:
        from kubernetes import client, config  # noqa: PLC0415  28 MB, for this alone
    except ImportError as error:
        raise ConfigError(f"a kubeconfig needs {error.name}: install alise[kubernetes]") from error
    settings: _Configuration = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(file),
            context=context,
            client_configuration=settings,
            persist_config=False,
        )
        contexts, current = config.list_kube_config_contexts(str(file))  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, yaml.YAMLError, ValueError, TypeError) as error:
        raise ConfigError(f"kubeconfig {file}: {error}") from error
    chosen = current if context is None else next(c for c in contexts if c["name"] == context)
    return ClusterConfig(
        server=str(settings.host).rstrip("/"),
        credentials=HeaderSource(lambda: _headers(settings)),
        namespace=(chosen.get("context") or {}).get("namespace") or "default",
        tls=_tls(file, settings),
        server_name=settings.tls_server_name or None,
        proxy=settings.proxy or None,
    )


def _headers(settings: _Configuration) -> Mapping[str, str]:
    # The client has named the entry in two ways.
    token = settings.get_api_key_with_prefix("BearerToken")
    token = token or settings.get_api_key_with_prefix("authorization")
    if not token and settings.username:
        token = settings.get_basic_auth_token()
    return {"authorization": token} if token else {}


def _tls(file: Path, settings: _Configuration) -> ssl.SSLContext | None:
    if not str(settings.host).startswith("https"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert or None)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"kubeconfig {file}: its certificates are unusable: {error}") from error
    if not settings.verify_ssl:  # insecure-skip-tls-verify: its owner's choice
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
