"""Services and where their connections may go, kept up to date from what the API server tells."""

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""
HEADLESS = {None, "", "None"}
DOMAIN = "cluster.local"


class Directory:
    """All Services of the cluster and the addresses behind them."""

    def __init__(self) -> None:
        self._services: dict[Key, Object] = {}
        self._endpoints: dict[Key, Object] = {}

    def service_changed(self, item: Object) -> None:
        self._services[key_of(item)] = item

    def service_gone(self, item: Object) -> None:
        self._services.pop(key_of(item), None)

    def endpoints_changed(self, item: Object) -> None:
        self._endpoints[key_of(item)] = item

    def endpoints_gone(self, item: Object) -> None:
        self._endpoints.pop(key_of(item), None)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._services)

    def spec(self, key: Key) -> Object:
        """Of a Service; empty where there is none."""
        found: Object = self._services.get(key, {}).get("spec", {})
        return found

    def addresses(self, key: Key) -> list[str]:
        """What a Service's name stands for: without an address of its own, those of its pods."""
        spec = self.spec(key)
        if not spec:
            return []
        if spec.get("clusterIP") not in HEADLESS:
            return [spec["clusterIP"]]
        kinds = ["addresses"]
        kinds += ["notReadyAddresses"] if spec.get("publishNotReadyAddresses") else []
        return [
            address["ip"]
            for subset in self._endpoints.get(key, {}).get("subsets") or ()
            for kind in kinds
            for address in subset.get(kind, ())
        ]

    def ready(self, key: Key, port: str) -> list[tuple[str, int]]:
        """Addresses that may be connected to for a Service's port of this name."""
        return [
            (address["ip"], each["port"])
            for subset in self._endpoints.get(key, {}).get("subsets") or ()
            for each in subset.get("ports", ())
            if each.get("name", "") == port
            for address in subset.get("addresses", ())
        ]


def key_of(item: Object) -> Key:
    """Namespace and name of an object."""
    metadata = item["metadata"]
    return metadata["namespace"], metadata["name"]
