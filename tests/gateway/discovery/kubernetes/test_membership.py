"""The registry is brought into line, and nothing more is touched than has changed."""

from dataclasses import replace

from alise_core.crds.governing import PoolRef
from alise_core.crds.names import Kind
from alise_core.units import BackendName
from alise_gateway.discovery.kubernetes.membership import Membership
from alise_gateway.discovery.kubernetes.view import Endpoint
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.backend import Backend, ProbeState, ServedModel
from alise_gateway.settings import BackendSettings, GatewaySettings
from fakes.clock import FakeClock

ENDPOINT = Endpoint(
    name="10.0.0.1:8000/llm",
    host="10.0.0.1",
    port=8000,
    tls=False,
    base_path="/llm",
    api_key=None,
    max_in_flight=9,
    pool=PoolRef("ns", Kind.MODEL_POOL, "chat"),
    pod=("ns", "a"),
    uid="u",
    is_ready=True,
)


class Following:
    """A registry that follows a dictionary."""

    def __init__(self, *urls: str) -> None:
        backends = tuple(BackendSettings(url=url) for url in urls)
        self.registry = BackendRegistry(GatewaySettings(backends=backends), FakeClock())
        self.membership = Membership(self.registry)
        self.wanted: dict[str, Endpoint] = {}
        self.told = 0
        self.readdressed: list[Backend] = []
        self.registry.on_readdressed = self.readdressed.append
        self.registry.subscribe(self._on_change)

    def _on_change(self) -> None:
        self.told += 1

    def put(self, *endpoints: Endpoint) -> tuple[int, int]:
        self.wanted |= {endpoint.name: endpoint for endpoint in endpoints}
        return self.apply(*(endpoint.name for endpoint in endpoints))

    def remove(self, *names: str) -> tuple[int, int]:
        for name in names:
            del self.wanted[name]
        return self.apply(*names)

    def apply(self, *names: str) -> tuple[int, int]:
        self.told = 0
        return self.membership.apply(names, self.wanted.get)

    def backend(self) -> Backend:
        found = self.registry.get(BackendName(ENDPOINT.name))
        assert found is not None
        return found


def test_an_endpoint_becomes_a_backend_and_ceases_to_be_one() -> None:
    following = Following()

    assert following.put(ENDPOINT) == (1, 0)
    backend = following.backend()
    assert (backend.address.url, backend.max_in_flight) == ("http://10.0.0.1:8000/llm", 9)
    assert following.remove(ENDPOINT.name) == (0, 1)
    assert backend.removed
    assert following.registry.backends == ()


def test_many_are_one_change() -> None:
    following = Following()
    many = [replace(ENDPOINT, name=f"10.0.0.1:{port}", port=port) for port in range(1, 100)]

    assert following.put(*many) == (99, 0)
    assert following.told == 1


def test_what_is_the_same_is_not_touched() -> None:
    following = Following()
    following.put(ENDPOINT)
    backend = following.backend()

    assert following.put(replace(ENDPOINT)) == (0, 0)
    assert following.told == 0
    assert following.backend() is backend


def test_readiness_limit_and_key_change_in_place() -> None:
    following = Following()
    following.put(ENDPOINT)
    backend = following.backend()
    backend.probe = ProbeState.HEALTHY

    following.put(replace(ENDPOINT, is_ready=False))
    assert not backend.is_usable(0)
    following.put(replace(ENDPOINT, max_in_flight=3))
    assert (backend.is_usable(0), backend.max_in_flight) == (True, 3)
    following.put(replace(ENDPOINT, api_key="secret"))

    assert backend.address.api_key == "secret"
    assert following.readdressed == [backend]
    assert following.backend() is backend


def test_another_pod_or_protocol_is_another_backend() -> None:
    following = Following()
    following.put(ENDPOINT)
    for another in (replace(ENDPOINT, uid="v"), replace(ENDPOINT, uid="v", tls=True)):
        before = following.backend()
        before.models = {"m": ServedModel("m", None, 0, "")}

        assert following.put(another) == (1, 1)
        assert following.told == 1
        assert (before.removed, following.backend() is before) == (True, False)


def test_what_settings_list_stays_theirs() -> None:
    following = Following("http://10.0.0.1:8000/llm")
    listed = following.backend()

    assert following.put(ENDPOINT) == (0, 0)
    assert following.membership.refused == {ENDPOINT.name}
    following.put(replace(ENDPOINT, is_ready=False))
    assert listed.is_ready
    assert following.remove(ENDPOINT.name) == (0, 0)
    assert following.membership.refused == set()
    assert following.backend() is listed
