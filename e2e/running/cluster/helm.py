"""The chart, installed by Helm as a user would."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helm_python import Config

from running.cluster.api import Object, resource
from running.cluster.cluster import Cluster
from running.cluster.rollout import wait_until_rolled_out

CHART = Path(__file__).resolve().parents[3] / "charts/alise"
TIMEOUT_SECONDS = 120
QUICK: Mapping[str, Any] = {
    # The scenarios that need more say so; what is probed here is not how long humans may wait.
    "gateway": {"replicas": 1, "preStopSeconds": 2},
    "operator": {"replicas": 1},
}


class Release:
    """One release of the chart in one namespace.

    Args:
        cluster: Where.
        namespace: Exists already.
        name: Of the release.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str = "alise") -> None:
        self._api = cluster.api
        self.namespace = namespace
        self.name = name
        self._common = merged(QUICK, values_of(cluster))
        self._helm = Config(kubeconfig_path=cluster.kubeconfig, namespace=namespace)

    @property
    def prefix(self) -> str:
        """Of the names of all objects."""
        return self.name if "alise" in self.name else f"{self.name}-alise"

    def labels(self, component: str) -> dict[str, str]:
        """Of the pods of a component."""
        label = "app.kubernetes.io"
        return {f"{label}/instance": self.name, f"{label}/component": component}

    def install(self, values: Mapping[str, Any], chart: Path = CHART) -> None:
        """``helm install`` and wait until all pods are ready."""
        self._helm.install(
            chart,
            self.name,
            merged(self._common, values),
            namespace=self.namespace,
            timeout=TIMEOUT_SECONDS,
        )
        self.wait()

    def upgrade(self, values: Mapping[str, Any], chart: Path = CHART) -> None:
        """``helm upgrade``; does not wait."""
        self._helm.upgrade(
            chart,
            self.name,
            merged(self._common, values),
            namespace=self.namespace,
            timeout=TIMEOUT_SECONDS,
        )

    def rollback(self) -> None:
        """``helm rollback`` to the revision before; does not wait."""
        self._helm.rollback(self.name, timeout=TIMEOUT_SECONDS)

    def uninstall(self) -> None:
        """``helm uninstall``, if it is installed."""
        self._helm.uninstall(self.name, ignore_not_found=True, timeout=TIMEOUT_SECONDS)

    def test(self) -> str:
        """``helm test``; returns what its pods said."""
        return str(self._helm.test(self.name, timeout=TIMEOUT_SECONDS, logs=False))

    def chart_version(self) -> str:
        """Of the chart that is installed now."""
        return str(self._helm.get_metadata(self.name)["version"])

    def history(self) -> list[Object]:
        """Revisions, oldest first."""
        return self._helm.history(self.name)

    def close(self) -> None:
        """Uninstall and let go of Helm's connection."""
        self.uninstall()
        self._helm.close()

    def wait(self) -> None:
        """Until every pod of the newest templates is ready and no other is left."""
        deployments = resource("apps/v1", "Deployment", self.namespace)
        label = {"app.kubernetes.io/instance": self.name}
        for item in self._api.items(deployments, label):
            wait_until_rolled_out(
                self._api, {**item, "apiVersion": "apps/v1", "kind": "Deployment"}
            )


def values_of(cluster: Cluster) -> dict[str, Any]:
    """What every release there needs: the names of the working tree's images, room for all pods."""
    image = {"image": {"tag": "e2e"}}
    common = {"image": {"registry": cluster.registry}, "gateway": image, "operator": image}
    return merged(common, cluster.values)


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``more`` laid over ``base``, mappings within mappings too."""
    found = json.loads(json.dumps(dict(base)))
    for key, value in more.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else value
    return found  # type: ignore[no-any-return]
