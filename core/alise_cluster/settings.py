"""What the cluster tells a pod about itself: the only module here that reads the environment."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts the token, the authority's certificate and the namespace."""


class InClusterSettings(BaseSettings):
    """Variables that the kubelet sets in every container.

    Source: Kubernetes documentation, "Accessing the Kubernetes API from a Pod".
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_prefix="KUBERNETES_")

    service_host: str | None = None
    service_port: int = 443
