"""One look at one object: what it asks for, and what it does when the object goes meanwhile."""

import pytest
from prometheus_client import CollectorRegistry

from alise_cluster.cache import Change, ChangeKind
from alise_cluster.client import ClusterClient
from alise_cluster.events import EventRecorder
from alise_cluster.resources import RawObject, key_of, resource_of
from alise_core.crds.names import Kind
from alise_operator.act.status import StatusWriter
from alise_operator.decide.parents import Parent
from alise_operator.decide.references import Presence, SecretFacts
from alise_operator.decide.scope import WorkKey
from alise_operator.metrics import OperatorMetrics
from alise_operator.observe.catalogue import Catalogue
from alise_operator.observe.engines import EngineReader
from alise_operator.observe.secret_lookup import SecretLookup
from alise_operator.reconcile import Intervals, Reconciler, Senses
from alise_operator.tending import Tending
from fakes.api_server import FakeApiServer
from fakes.clock import FakeClock
from fakes.custom_objects import Raw, a_pod, a_policy, a_pool, a_tenant

TENANT = WorkKey(Kind.TENANT, "ns", "team-a")
POOL = WorkKey(Kind.MODEL_POOL, "ns", "chat")


class Look:
    """A reconciler and everything it goes by."""

    def __init__(self, server: FakeApiServer, client: ClusterClient, clock: FakeClock) -> None:
        self.server = server
        self.catalogue = Catalogue()
        self.engines = EngineReader(60, 5, lambda: 0.5)
        self.wanted: list[str] = []
        self.unwanted: list[str] = []
        self.engines.on_wanted = self.wanted.append
        self.engines.on_unwanted = self.unwanted.append
        self.secrets = SecretLookup(client, 60, clock)
        recorder = EventRecorder(client, "alise-operator", "op-0", clock)
        metrics = OperatorMetrics(CollectorRegistry())
        writer = StatusWriter(client, recorder, metrics, clock, 300)
        senses = Senses(
            self.catalogue, self.engines, self.secrets, Tending(None, 10, lambda: 0.5), clock
        )
        parent = Parent("ns", "alise-gateway")
        self.at = Reconciler(senses, writer, parent, Intervals(300, 60), lambda: 0.5)

    def put(self, kind: Kind, raw: Raw) -> RawObject:
        stored = self.server.put(resource_of(kind), raw)
        self.catalogue.apply(kind, [Change(ChangeKind.MODIFIED, key_of(stored), stored)])
        return stored

    def remove(self, kind: Kind, raw: RawObject) -> None:
        self.catalogue.apply(kind, [Change(ChangeKind.DELETED, key_of(raw), raw, raw)])

    def put_pod(self, raw: Raw) -> None:
        self.catalogue.apply_pods([Change(ChangeKind.MODIFIED, key_of(raw), raw)])


@pytest.fixture
def look(server: FakeApiServer, client: ClusterClient, clock: FakeClock) -> Look:
    return Look(server, client, clock)


async def test_objects_that_name_secrets_are_looked_at_more_often(look: Look) -> None:
    look.put(Kind.MODEL_POOL, a_pool())
    look.put(Kind.TENANT, a_tenant("team-a", "keys"))
    look.put(Kind.SCHEDULING_POLICY, a_policy("p"))

    assert await look.at(POOL) == 300
    assert await look.at(TENANT) == 60
    assert await look.at(WorkKey(Kind.SCHEDULING_POLICY, "ns", "p")) == 300


async def test_what_is_gone_is_not_looked_at_again(look: Look) -> None:
    assert await look.at(TENANT) is None


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        (TENANT, a_tenant("team-a", "keys")),
        (POOL, a_pool(apiKeySecretRef={"name": "keys"})),
    ],
    ids=["tenant", "pool"],
)
async def test_what_goes_while_its_secrets_are_asked_for_is_let_go(
    look: Look, monkeypatch: pytest.MonkeyPatch, key: WorkKey, raw: Raw
) -> None:
    stored = look.put(key.kind, raw)

    async def facts(namespace: str, names: list[str]) -> dict[str, SecretFacts]:
        look.remove(key.kind, stored)
        return {name: SecretFacts(Presence.PRESENT) for name in names}

    monkeypatch.setattr(look.secrets, "facts", facts)

    assert await look.at(key) == 0  # and the next look lets go of it
    assert await look.at(key) is None
    assert not any(it.verb == "patch" for it in look.server.asked)


async def test_ready_endpoints_are_read_and_those_of_a_pool_that_is_gone_are_not(
    look: Look,
) -> None:
    pool = look.put(Kind.MODEL_POOL, a_pool(scheme="https", basePath="/vllm"))
    look.put_pod(a_pod())
    look.put_pod(a_pod("starting", ip="10.0.0.2", ready=False))

    await look.at(POOL)
    assert look.wanted == ["10.0.0.1:8000"]

    look.remove(Kind.MODEL_POOL, pool)
    await look.at(POOL)
    assert look.unwanted == ["10.0.0.1:8000"]


async def test_a_pool_without_a_good_spec_has_nothing_to_read(look: Look) -> None:
    look.put(Kind.MODEL_POOL, a_pool(basePath="wrong"))
    look.put_pod(a_pod())

    await look.at(POOL)

    assert look.wanted == []


async def test_looking_twice_writes_once(look: Look) -> None:
    for kind, raw in ((Kind.MODEL_POOL, a_pool()), (Kind.TENANT, a_tenant("team-a"))):
        look.put(kind, raw)
    for _ in range(3):
        for key in (POOL, TENANT):
            await look.at(key)
            fresh = look.server.read(resource_of(key.kind), key.name)
            look.put(key.kind, fresh)

    assert sum(it.verb == "patch" for it in look.server.asked) == 2
