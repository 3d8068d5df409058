"""A gateway that follows a cluster: a fake API server, engines as pods, real sockets throughout."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alise_cluster.resources import PODS, SECRETS, resource_of
from alise_core.crds.names import Kind
from alise_core.outcome import Outcome
from alise_core.policy import OrderingName
from alise_gateway.control.view import EndpointStatus
from fakes.api_server import FakeApiServer
from fakes.asking import ask
from fakes.cluster import (
    inference_pool,
    kubeconfig,
    model_pool,
    pod,
    policy,
    secret,
    tenant,
)
from fakes.engine import RunningEngine, fast_engine, replaying, running_engine
from fakes.gateway import RunningGateway, eventually, running_gateway
from fakes.raw_client import chat, connected, post

POOLS = resource_of(Kind.MODEL_POOL)
INFERENCE_POOLS = resource_of(Kind.INFERENCE_POOL)
POLICIES = resource_of(Kind.SCHEDULING_POLICY)
TENANTS = resource_of(Kind.TENANT)
LENGTHS = replaying(hello=4, long=2000)
KEY = "a-key-of-team-a-that-is-long"


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = await FakeApiServer().start()
    server.install_crds()
    yield server
    await server.stop()


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine(fast_engine(lengths=LENGTHS)) as running:
        yield running


@contextlib.asynccontextmanager
async def following(
    server: FakeApiServer, directory: Path, settled: bool = True, **overrides: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway that follows the server's cluster, once it has read all of it."""
    watching: dict[str, Any] = {"enabled": True, "kubeconfig": kubeconfig(directory, server.url)}
    watching |= overrides.pop("kubernetes", {})
    async with running_gateway(kubernetes=watching, **overrides) as gateway:
        if settled:
            await eventually(lambda: discovery(gateway).is_settled)
        yield gateway


def discovery(gateway: RunningGateway) -> Any:
    return gateway.app.discovery


def names(gateway: RunningGateway) -> list[str]:
    return sorted(backend.name for backend in gateway.app.registry.backends)


async def usable(gateway: RunningGateway, *expected: str) -> None:
    """Wait until exactly these backends get requests."""

    def found() -> list[str]:
        now = gateway.app.clock.now()
        backends = gateway.app.registry.backends
        return sorted(item.name for item in backends if item.is_usable(now) and item.models)

    await eventually(lambda: found() == sorted(expected))


async def test_pods_of_a_pool_are_served(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    async with following(server, tmp_path) as gateway:
        assert (await ask(gateway)).status == 200
        gateway.expect(Outcome.COMPLETED, backend=engine.name)
        status = gateway.app.status.cluster()
        assert (status.settled, status.missing, status.problems) == (True, (), ())
        assert status.endpoints == (EndpointStatus(engine.name, "ModelPool ns/chat", "ns/a", True),)
        assert all(watch.connected for watch in status.watches)

        server.remove(PODS, "a")
        await usable(gateway)
        assert names(gateway) == []
        assert (await ask(gateway)).status == 503


async def test_a_pod_gets_requests_when_it_becomes_ready_and_none_when_it_does_not(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1", ready=False))
    async with following(server, tmp_path) as gateway:
        assert names(gateway) == []

        server.put(PODS, pod("a", "127.0.0.1"))
        await usable(gateway, engine.name)
        backend = gateway.backend(engine.name)
        server.put(PODS, pod("a", "127.0.0.1", ready=False))
        await usable(gateway)
        assert gateway.metric("alise_gateway_backends", state="not_ready") == 1
        server.put(PODS, pod("a", "127.0.0.1"))
        await usable(gateway, engine.name)

        # What was learned of it is kept.
        assert gateway.backend(engine.name) is backend


async def test_a_pod_that_leaves_finishes_what_it_has_and_gets_nothing_new(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    async with following(server, tmp_path) as gateway, connected(gateway.port) as client:
        client.send(post(chat("long", stream=True, max_tokens=2000)))
        await eventually(engine.open_requests)

        server.put(PODS, pod("a", "127.0.0.1", leaving=True))
        await usable(gateway)
        assert engine.open_requests()
        reply = await client.reply()

        assert reply.status == 200
        gateway.expect(Outcome.COMPLETED)
        gateway.sweep()
        assert not gateway.app.pools


async def test_the_gateway_goes_on_while_the_api_server_is_away(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    server.put(TENANTS, tenant("team-a", "keys"))
    server.put(SECRETS, secret("keys", first=KEY))
    async with following(server, tmp_path, identity={}) as gateway:
        await server.stop()
        await eventually(lambda: gateway.metric("alise_gateway_discovery_connected") == 0)

        assert (await ask(gateway, f"authorization: Bearer {KEY}")).status == 200
        assert gateway.app.status.readiness().ready

        server.remove(PODS, "a")
        await server.start()
        await usable(gateway)
        await eventually(
            lambda: gateway.metric("alise_gateway_discovery_connected", kind="Tenant") == 1
        )
        assert gateway.metric("alise_gateway_discovery_errors_total", reason="failing") > 0
        # Its second listening socket would count as one that the gateway has left open.
        await server.stop()


async def test_keys_come_from_secrets_and_rotate_without_a_gap(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    server.put(TENANTS, tenant("team-a", "keys", weight=2))
    server.put(SECRETS, secret("keys", first=KEY))
    new = "another-key-of-team-a"

    async with following(server, tmp_path, identity={}) as gateway:

        async def status(key: str) -> int:
            return (await ask(gateway, f"x-api-key: {key}")).status

        assert await status(KEY) == 200
        gateway.expect(Outcome.COMPLETED, tenant="team-a")
        assert await status(new) == 401

        server.put(SECRETS, secret("keys", first=KEY, second=new))
        await eventually(lambda: len(gateway.app._authenticator._more_keys) == 2)
        assert (await status(KEY), await status(new)) == (200, 200)
        server.put(SECRETS, secret("keys", second=new))
        await eventually(lambda: len(gateway.app._authenticator._more_keys) == 1)
        assert (await status(KEY), await status(new)) == (401, 200)

        server.remove(SECRETS, "keys")
        await eventually(lambda: not len(gateway.app._authenticator._more_keys))
        assert await status(new) == 401
        assert [str(problem) for problem in discovery(gateway).problems] == [
            "Tenant ns/team-a: Secret keys does not exist; create it"
        ]
        written = gateway.everything_written()
        assert KEY not in written
        assert new not in written


async def test_a_pools_pods_are_sent_its_key_and_the_next_one_after_it_has_changed(
    server: FakeApiServer, tmp_path: Path
) -> None:
    async with running_engine(fast_engine(lengths=LENGTHS, api_key="first-key")) as engine:
        ref = {"name": "engine", "key": "token"}
        server.put(POOLS, model_pool(ports=(engine.port,), apiKeySecretRef=ref))
        server.put(PODS, pod("a", "127.0.0.1"))
        server.put(SECRETS, secret("engine", token="first-key\n", other="x"))
        async with following(server, tmp_path) as gateway:
            assert (await ask(gateway)).status == 200

            backend = gateway.backend(engine.name)
            server.put(SECRETS, secret("engine", token="second-key"))
            await eventually(lambda: backend.address.api_key == "second-key")

            # The engine goes by the old one still, and says so; nobody else is told the key.
            assert (await ask(gateway)).status == 502
            assert gateway.backend(engine.name) is backend
            assert "second-key" not in gateway.everything_written()


async def test_aliases_come_and_go_and_a_bad_one_hurts_nobody_else(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    alias = {"name": "gpt", "targets": [{"model": engine.model}]}
    bad = {"name": engine.model, "targets": [{"model": "elsewhere"}]}
    server.put(POOLS, model_pool(ports=(engine.port,), aliases=[alias]))
    server.put(POOLS, model_pool("other", selector={"matchLabels": {"app": "none"}}, aliases=[bad]))
    server.put(PODS, pod("a", "127.0.0.1"))
    async with following(server, tmp_path) as gateway:
        assert (await ask(gateway, model="gpt")).status == 200
        assert [problem.name for problem in discovery(gateway).problems] == ["other"]

        server.put(POOLS, model_pool(ports=(engine.port,)))
        await eventually(lambda: "gpt" not in gateway.app.registry.aliases)

        # With the older pool's alias gone, the other one's is as good as any.
        assert discovery(gateway).problems == ()


async def test_policies_reach_the_queue_of_the_models_that_their_pools_serve(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    async with following(server, tmp_path) as gateway:

        def ordering() -> OrderingName:
            return gateway.app.queue.policies.of(engine.model).ordering.name

        usual = ordering()
        server.put(POLICIES, policy("ours", "chat", ordering={"name": "fcfs"}))
        await eventually(lambda: ordering() is OrderingName.FCFS)

        # One that is wrong changes nothing and is reported.
        server.put(POLICIES, policy("ours", "chat", ordering={"name": "nonsense"}))
        await eventually(lambda: discovery(gateway).problems)
        assert ordering() is OrderingName.FCFS
        assert "spec.ordering.name" in str(discovery(gateway).problems[0])

        server.remove(POLICIES, "ours")
        await eventually(lambda: ordering() is usual)


async def test_an_inference_pool_is_served_unless_it_has_a_picker(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(INFERENCE_POOLS, inference_pool(port=engine.port))
    server.put(PODS, pod("a", "127.0.0.1"))
    async with following(server, tmp_path) as gateway:
        assert (await ask(gateway)).status == 200

        server.put(
            INFERENCE_POOLS, inference_pool(port=engine.port, endpointPickerRef={"name": "epp"})
        )
        await usable(gateway)
        # A ModelPool that refers to it says how it is served.
        raw = model_pool(inferencePoolRef={"name": "pool"})
        del raw["spec"]["selector"], raw["spec"]["targetPorts"]
        server.put(POOLS, raw)
        await usable(gateway, engine.name)


async def test_ready_gateways_share(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    own = {"pod_name": "gateway-1", "peers_selector": "app=gateway"}
    for number in range(3):
        server.put(PODS, pod(f"gateway-{number}", app="gateway"))
    async with following(server, tmp_path, kubernetes=own) as gateway:

        def share() -> tuple[int, int]:
            return (gateway.app._share.index, gateway.app._share.count)

        await eventually(lambda: share() == (1, 3))
        server.put(PODS, pod("gateway-0", app="gateway", ready=False))
        await eventually(lambda: share() == (0, 2))
        # We count even while the cluster does not take us to be ready.
        server.put(PODS, pod("gateway-1", app="gateway", ready=False))
        server.remove(PODS, "gateway-2")
        await eventually(lambda: share() == (0, 1))
        assert gateway.metric("alise_gateway_discovery_gateways") == 1


async def test_it_is_not_ready_before_it_has_read_the_cluster(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.hanging = True
    async with following(
        server, tmp_path, settled=False, kubernetes={"sync_seconds": 0.05}
    ) as gateway:
        readiness = gateway.app.status.readiness()
        assert (readiness.ready, readiness.reasons) == (False, ("the cluster was not read yet",))

        await eventually(lambda: discovery(gateway).gave_up_waiting)
        assert not gateway.app.status.readiness().ready
        said = [line for line in gateway.events() if line["event"] == "cluster_not_read"]
        assert "Pod: no answer yet" in said[0]["missing"]


async def test_what_settings_list_is_served_beside_the_cluster_and_before_it(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.forbidden = {("list", "pods")}
    beside = [{"url": engine.url}]
    async with following(server, tmp_path, settled=False, backends=beside) as gateway:
        assert gateway.app.status.readiness().ready
        assert (await ask(gateway)).status == 200
        await eventually(
            lambda: any(
                "may not get, list and watch pods" in it for it in discovery(gateway).missing()
            )
        )

        assert names(gateway) == [engine.name]


async def test_what_settings_and_a_pool_both_list_is_the_settings(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    async with following(server, tmp_path, backends=[{"url": engine.url}]) as gateway:
        assert names(gateway) == [engine.name]
        assert [str(problem) for problem in discovery(gateway).problems] == [
            f"ModelPool ns/chat: {engine.name} is listed in the settings already; they count"
        ]
        server.remove(PODS, "a")
        await eventually(lambda: not gateway.app.discovery._view.endpoints())  # type: ignore[union-attr]
        assert (await ask(gateway)).status == 200


async def test_secrets_that_nobody_names_any_more_are_read_no_more(
    server: FakeApiServer, tmp_path: Path
) -> None:
    server.put(TENANTS, tenant("team-a", "keys"))
    server.put(SECRETS, secret("keys", first=KEY))
    async with following(server, tmp_path) as gateway:
        assert gateway.metric("alise_gateway_discovery_objects", kind="Secret") == 1
        await eventually(lambda: server.watches_of(SECRETS) == 1)

        server.remove(TENANTS, "team-a")
        await eventually(lambda: server.watches_of(SECRETS) == 0)
        assert gateway.metric("alise_gateway_discovery_objects", kind="Secret") == 0


async def test_a_tenant_of_the_cluster_is_beside_the_keys_file(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    async with following(server, tmp_path) as gateway:
        # Everybody may call, and nobody has a key: credentials are ignored.
        assert (await ask(gateway, "x-api-key: EMPTY")).status == 200

        server.put(SECRETS, secret("keys", first=KEY))
        server.put(TENANTS, tenant("team-a", "keys"))
        await eventually(lambda: len(gateway.app._authenticator._more_keys))
        assert (await ask(gateway, "x-api-key: EMPTY")).status == 401
        assert (await ask(gateway, f"x-api-key: {KEY}")).status == 200
        assert (await ask(gateway)).status == 200


async def test_one_pods_address_that_another_takes_over_is_another_backend(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    async with following(server, tmp_path) as gateway:
        before = gateway.backend(engine.name)
        server.put(PODS, pod("b", "127.0.0.1"))
        await eventually(lambda: gateway.backend(engine.name) is not before)
        await usable(gateway, engine.name)
        assert (await ask(gateway)).status == 200


async def test_a_secret_that_may_not_be_read_holds_nobody_up(
    server: FakeApiServer, engine: RunningEngine, tmp_path: Path
) -> None:
    server.put(POOLS, model_pool(ports=(engine.port,)))
    server.put(PODS, pod("a", "127.0.0.1"))
    server.put(TENANTS, tenant("team-a", "keys"))
    server.forbidden = {("list", "secrets")}
    async with following(server, tmp_path) as gateway:
        assert (await ask(gateway)).status == 200
        assert [str(problem) for problem in discovery(gateway).problems] == [
            "Tenant ns/team-a: Secret keys may not be read; grant it by resourceNames"
        ]
        asked = [item for item in server.asked if item.resource == "secrets"]
        assert {item.query.get("fieldSelector") for item in asked} == {"metadata.name=keys"}
