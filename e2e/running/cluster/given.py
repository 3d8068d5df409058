"""A cluster that exists already: the one of a kubeconfig.

Scenarios connect to the addresses of pods and Services, so they run where those can be reached: on
one of its nodes. Its registry has the images of this working tree and ``alise-sim``, whose entry
point is ``alise sim-engine``.
"""

import os
from pathlib import Path

from running.cluster.api import Api, connect

KUBECONFIG = "ALISE_E2E_KUBECONFIG"
IMAGES = "ALISE_E2E_REGISTRY"
"""Environment variable with what comes before the images' names."""


class GivenCluster:
    """Used, never changed beyond the namespaces that scenarios make."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.kubeconfig = Path(os.environ[KUBECONFIG])
        self.api: Api = connect(self.kubeconfig)
        self.registry = os.environ.get(IMAGES, "")

    def stop(self) -> None:
        """Let go of the connection."""
        self.api.close()
