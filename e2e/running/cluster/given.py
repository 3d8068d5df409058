"""A cluster that exists already: the one of a kubeconfig.

Scenarios connect to the addresses of pods and Services, so they run where those can be reached: on
one of its nodes. A registry that it pulls from has the images of this working tree with the tag
``e2e``: ``alise-gateway``, ``alise-operator``, and ``alise-sim``, whose entry point is
``alise sim-engine``.
"""

import os
from pathlib import Path

from running.cluster.api import Api, connect
from running.cluster.cluster import Cluster

KUBECONFIG = "ALISE_E2E_KUBECONFIG"
REGISTRY = "ALISE_E2E_REGISTRY"


class GivenCluster(Cluster):
    """Used, never changed beyond the namespaces and definitions that scenarios make."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.registry = os.environ.get(REGISTRY, "")
        self._kubeconfig = Path(os.environ[KUBECONFIG])
        self._api = connect(self._kubeconfig)

    @property
    def api(self) -> Api:
        """As the kubeconfig's user."""
        return self._api

    @property
    def kubeconfig(self) -> Path:
        """The one that was given."""
        return self._kubeconfig

    def stop(self) -> None:
        """Let go of the connection."""
        self._api.close()
