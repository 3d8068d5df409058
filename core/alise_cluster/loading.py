"""Which configuration: that of a kubeconfig file, or that of the pod we run in."""

from pathlib import Path

from alise_cluster.config import ClusterConfig, in_cluster
from alise_cluster.kubeconfig import from_kubeconfig
from alise_core.clock import Clock, MonotonicClock
from alise_core.errors import ConfigError


def load_config(
    kubeconfig: Path | None, context: str | None, clock: Clock | None = None
) -> ClusterConfig:
    """The configuration of a kubeconfig file, or that of the pod we run in.

    Args:
        kubeconfig: File; ``None`` for the pod's own service account.
        context: Of the file; its current one without.
        clock: Decides when tokens are read again.

    Raises:
        ConfigError: Neither leads anywhere; says what is missing.
    """
    if kubeconfig is None:
        if context is not None:
            raise ConfigError(f"context {context!r} needs a kubeconfig; name the file")
        return in_cluster(clock or MonotonicClock())
    return from_kubeconfig(kubeconfig, context)
