"""Brings the registry into line with the view, one endpoint at a time, and touches nothing else.

What settings list is never touched. An endpoint whose pod, address or protocol is another one is
replaced; anything less (readiness, limit, key) changes where it is, so that what was learned of it
and what is in flight on it stays.
"""

from collections.abc import Callable, Iterable

from alise_core.units import BackendName
from alise_gateway.discovery.kubernetes.view import Endpoint
from alise_gateway.discovery.registry import BackendRegistry, Member
from alise_gateway.domain.backend import BackendAddress


class Membership:
    """See the module.

    Args:
        registry: Whose backends are changed.
    """

    def __init__(self, registry: BackendRegistry) -> None:
        self._registry = registry
        self.endpoints: dict[str, Endpoint] = {}
        """What was taken in, by name."""
        self.refused: set[str] = set()
        """Names that settings list already."""

    def apply(
        self, names: Iterable[str], wanted: Callable[[str], Endpoint | None]
    ) -> tuple[int, int]:
        """Bring some endpoints into line.

        Args:
            names: Which may differ from what they were.
            wanted: What is there now under a name.

        Returns: How many were taken in, and how many were let go.
        """
        gone: set[str] = set()
        new: list[Member] = []
        for name in names:
            before, after = self.endpoints.get(name), wanted(name)
            if before is not None and (after is None or _is_another(before, after)):
                gone.add(name)
                del self.endpoints[name]
                before = None
            if after is None:
                self.refused.discard(name)
            elif before is not None:
                self._adjust(name, before, after)
            elif name in gone or not self._registry.has(BackendName(name)):
                self.endpoints[name] = after
                new.append(Member(_address(after), after.max_in_flight, after.is_ready))
            else:
                self.refused.add(name)
        self._registry.exchange([BackendName(name) for name in gone], new)
        return len(new), len(gone)

    def _adjust(self, name: str, before: Endpoint, endpoint: Endpoint) -> None:
        self.endpoints[name] = endpoint
        backend = self._registry.get(BackendName(name))
        if backend is None or before == endpoint:
            return
        self._registry.set_api_key(backend, endpoint.api_key)
        self._registry.set_limit(backend, endpoint.max_in_flight)
        self._registry.set_ready(backend, endpoint.is_ready)


def _is_another(before: Endpoint, after: Endpoint) -> bool:
    return (before.uid, before.host, before.port, before.tls, before.base_path) != (
        after.uid,
        after.host,
        after.port,
        after.tls,
        after.base_path,
    )


def _address(endpoint: Endpoint) -> BackendAddress:
    return BackendAddress(
        name=BackendName(endpoint.name),
        host=endpoint.host,
        port=endpoint.port,
        tls=endpoint.tls,
        base_path=endpoint.base_path,
        api_key=endpoint.api_key,
    )
