"""The composition root: start, stop, and what it keeps in step."""

import asyncio
import io
import socket
from pathlib import Path

import httpx
import pytest

from alise_core.errors import ConfigError
from alise_core.outcome import Outcome
from alise_core.policy import AdmissionPolicy, SchedulingPolicy
from alise_core.shares import WHOLE, Share
from alise_core.units import BackendName
from alise_gateway.app import Gateway
from alise_gateway.settings import BackendSettings, GatewaySettings, IdentitySettings
from fakes.clock import FakeClock
from fakes.engine import fast_engine, replaying, running_engine
from fakes.gateway import eventually, running_gateway
from fakes.raw_client import chat, connected, post


async def test_nobody_may_call_unless_somebody_is_named() -> None:
    with pytest.raises(ConfigError, match="nothing says who may call"):
        Gateway(GatewaySettings(port=0), None)


async def test_a_backend_listed_under_two_spellings_is_refused() -> None:
    urls = ("http://engine:80", "http://engine")
    settings = GatewaySettings(
        port=0,
        identity=IdentitySettings(allow_anonymous=True),
        backends=tuple(BackendSettings(url=url) for url in urls),
    )
    with pytest.raises(ConfigError, match="more than once"):
        Gateway(settings, io.BytesIO())


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*choose another"):
            async with running_gateway(port=port):
                pass


async def test_stopping_twice_is_harmless() -> None:
    async with running_gateway(admin_port=0) as gateway:
        await gateway.app.stop()


async def test_an_upload_that_a_drain_overtakes_is_told_to_retry() -> None:
    async with (
        running_engine() as engine,
        running_gateway(engine.url) as gateway,
        connected(gateway.port) as client,
    ):
        request = post(chat(), "expect: 100-continue")
        client.send(request[:-5])
        # The invitation shows that the head was read and let in.
        assert (await client.head())[0] == 100
        stopping = asyncio.create_task(gateway.app.stop())
        await eventually(lambda: gateway.app.pipeline.is_draining)
        client.send(request[-5:])
        reply = await client.reply()
        assert (reply.status, reply.error["code"]) == (503, "rejected_shutting_down")
        assert reply.headers["connection"] == "close"
        client.writer.close()
        await stopping
        gateway.expect(Outcome.REJECTED_SHUTTING_DOWN, attempts=0)


async def test_clients_are_served_and_sent_away_before_a_drain() -> None:
    async with (
        running_engine() as engine,
        running_gateway(engine.url, timeouts={"linger_seconds": 30}) as gateway,
        connected(gateway.port) as client,
    ):
        client.send(post(chat(max_tokens=1)))
        assert (await client.reply()).headers.get("connection") != "close"
        stopping = asyncio.create_task(gateway.app.stop())
        await eventually(lambda: gateway.app.pipeline.is_leaving)
        assert not gateway.app.status.readiness().ready
        client.send(post(chat(max_tokens=1)))
        reply = await client.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        client.writer.close()
        gateway.app.hurry()
        await stopping
        assert [line["outcome"] for line in gateway.requests()] == ["completed"] * 2


@pytest.mark.parametrize(("linger_seconds", "status"), [(30, 200), (0, 503)])
async def test_a_stream_that_began_before_does_not_close_its_connection(
    linger_seconds: float, status: int
) -> None:
    """Its head has said nothing of an end: the next request is read, and its answer says so."""
    async with (
        running_engine(fast_engine(0.002, lengths=replaying(hello=60))) as engine,
        running_gateway(engine.url, timeouts={"linger_seconds": linger_seconds}) as gateway,
        connected(gateway.port) as client,
    ):
        client.send(post(chat(max_tokens=60, stream=True)))
        assert (await client.head())[0] == 200
        stopping = asyncio.create_task(gateway.app.stop())
        await eventually(lambda: gateway.app.pipeline.is_leaving)
        assert gateway.app.pipeline.active == 1
        while await client.event():
            pass
        client.send(post(chat(max_tokens=1)))
        reply = await client.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        client.writer.close()
        gateway.app.hurry()
        await stopping


async def test_what_runs_may_finish_and_what_waits_too() -> None:
    lengths = replaying(hello=30)
    async with (
        running_engine(fast_engine(0.002, lengths=lengths)) as engine,
        running_gateway(engine.url, queue={"max_in_flight_per_backend": 1}) as gateway,
        connected(gateway.port) as first,
        connected(gateway.port) as second,
    ):
        for client in (first, second):
            client.send(post(chat(max_tokens=30)))
        await eventually(lambda: gateway.app.queue.waiting == 1)
        stopping = asyncio.create_task(gateway.app.stop())
        for client in (first, second):
            assert (await client.reply()).status == 200
            client.writer.close()
        await stopping
        assert [line["outcome"] for line in gateway.requests()] == ["completed"] * 2


async def test_the_metrics_of_a_backend_start_at_zero() -> None:
    async with running_engine() as engine, running_gateway(engine.url) as gateway:
        text = gateway.metrics_text()
        name = f'backend="{engine.name}"'
        assert f'alise_gateway_backend_failures_total{{{name},kind="timeout"}} 0.0' in text
        assert gateway.metric("alise_gateway_probes_total", result="healthy") == 1


async def test_time_limits_are_enforced_without_being_asked() -> None:
    clock = FakeClock()
    async with (
        running_gateway(clock=clock) as gateway,
        connected(gateway.port) as client,
    ):
        await eventually(lambda: gateway.app.listener.connections == 1)
        clock.advance(1_000)
        await client.closed()


async def test_the_admin_api_wants_the_token_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("admin-secret\n")
    async with running_gateway(admin_port=0, admin_token_file=path) as gateway:
        admin = f"http://127.0.0.1:{gateway.app.admin_port}"
        async with httpx.AsyncClient(base_url=admin) as http:
            assert (await http.get("/alise/queue")).status_code == 401
            held = {"authorization": "Bearer admin-secret"}
            assert (await http.get("/alise/queue", headers=held)).status_code == 200
            assert (await http.get("/healthz")).status_code == 200
        assert "admin-secret" not in gateway.everything_written()


async def test_idle_connections_to_backends_are_closed_before_the_backend_does() -> None:
    clock = FakeClock()
    async with (
        running_engine() as engine,
        running_gateway(engine.url, clock=clock) as gateway,
    ):
        async with connected(gateway.port) as client:
            client.send(post(chat()))
            assert (await client.reply()).status == 200
        (pool,) = gateway.app.pools.values()
        clock.advance(3)
        gateway.sweep()
        assert pool.counts.idle == 1
        clock.advance(2)
        gateway.sweep()
        assert pool.counts.idle == 0


async def test_nothing_is_kept_of_a_backend_that_is_gone() -> None:
    async with running_engine() as engine, running_gateway(engine.url) as gateway:
        async with connected(gateway.port) as client:
            client.send(post(chat()))
            assert (await client.reply()).status == 200
        assert gateway.app._parts.prefixes
        gateway.app.registry.remove(BackendName(engine.name))
        gateway.sweep()
        assert gateway.app._parts.prefixes == {}
        assert gateway.app.pools == {}


async def test_policies_and_shares_reach_queue_and_backends_that_come_later() -> None:
    async with running_engine() as engine, running_gateway() as gateway:
        app = gateway.app
        with pytest.raises(ValueError, match="no part"):
            app.set_share(2, 2)
        careful = SchedulingPolicy(admission=AdmissionPolicy(quantile=0.9, high_quantile=0.9))
        app.set_share(1, 2)
        app.set_policies({engine.model: careful})
        backend = app.registry.add(BackendSettings(url=engine.url, max_in_flight=9))
        await eventually(lambda: bool(backend.models))
        assert backend.admission.ledger.quantile == 0.9
        assert backend.admission.room.share == Share(1, 2)
        assert app.status.queue().ordering_by_model == {engine.model: "boost"}
        app.set_policies({})
        app.set_share(0, 1)
        assert backend.admission.ledger.quantile == 0.5
        assert backend.admission.room.share == WHOLE
        assert app.status.queue().ordering_by_model == {}


async def test_a_stall_is_told_and_is_nobodys_fault() -> None:
    clock, watch = FakeClock(), FakeClock()
    async with (
        running_engine() as engine,
        running_gateway(engine.url, clock=clock, watch=watch) as gateway,
        connected(gateway.port) as client,
    ):
        request = post(chat(), "expect: 100-continue")
        client.send(request[:-5])
        assert (await client.head())[0] == 100
        clock.advance(90)
        watch.advance(90)
        await eventually(lambda: gateway.metric("alise_gateway_loop_stalled_seconds_total") > 89)
        client.send(request[-5:])
        assert (await client.reply()).status == 200
        [told] = [line for line in gateway.events() if line["event"] == "gateway_stalled"]
        assert told["seconds"] == pytest.approx(90, abs=1)
        gateway.expect(Outcome.COMPLETED)
