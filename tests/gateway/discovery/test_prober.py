import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from alise_gateway.discovery import probe
from alise_gateway.discovery.prober import Prober
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.discovery.rounds import Pacing
from alise_gateway.domain.backend import Backend, ProbeState
from alise_gateway.settings import BackendSettings, GatewaySettings, HealthSettings
from fakes.clock import FakeClock
from fakes.pacing import FakePacing

INTERVAL = 2.0
LISTING = json.dumps({"data": [{"id": "m", "max_model_len": 8192}]}).encode()


@dataclass
class FakeEngine:
    """What one backend answers; ``None`` as status hangs, an exception is raised."""

    health: int | Exception | None = 200
    ready: int | None = 404
    models: int | None = 200
    listing: bytes = LISTING
    ready_body: bytes = b'{"plugin": "alise"}'
    asked: list[str] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        self.keys.add(request.headers.get("authorization"))
        status = {"/health": self.health, "/alise/ready": self.ready, "/v1/models": self.models}[
            path
        ]
        if isinstance(status, Exception):
            raise status
        if status is None:
            await asyncio.Event().wait()
            raise AssertionError
        body = {"/v1/models": self.listing, "/alise/ready": self.ready_body}.get(path, b"")
        return httpx.Response(status, stream=httpx.ByteStream(body))

    def questions(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


class Bench:
    """A prober over fake engines, driven round by round."""

    def __init__(self, count: int, key_file: Path | None = None) -> None:
        self.clock = FakeClock()
        self.pacing = FakePacing()
        self.engines = {9000 + number: FakeEngine() for number in range(count)}
        self.health = HealthSettings(
            probe_interval_seconds=INTERVAL,
            probe_timeout_seconds=0.3,
            models_interval_seconds=10 * INTERVAL,
        )
        self.registry = BackendRegistry(
            GatewaySettings(
                backends=tuple(
                    BackendSettings(url=f"http://127.0.0.1:{port}", api_key_file=key_file)
                    for port in self.engines
                ),
                health=self.health,
            ),
            self.clock,
        )
        self.prober = Prober(
            self.registry,
            self.health,
            self.clock,
            self.create_client,
            Pacing(self.pacing.sleep, lambda: 0.5),
        )

    def create_client(self) -> httpx.AsyncClient:
        async def route(request: httpx.Request) -> httpx.Response:
            return await self.engines[request.url.port or 80].answer(request)

        return httpx.AsyncClient(transport=httpx.MockTransport(route), trust_env=False)

    @property
    def engine(self) -> FakeEngine:
        return self.engines[9000]

    @property
    def backend(self) -> Backend:
        return self.registry.backends[0]

    async def start(self) -> None:
        await self.prober.start()
        await self.pacing.until_asleep(len(self.engines))

    async def round(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(INTERVAL)
            self.pacing.wake()
            await self.pacing.until_asleep(len(self.registry.backends))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    subject = Bench(1)
    yield subject
    await subject.prober.stop()


@pytest.fixture
async def pair() -> AsyncIterator[Bench]:
    subject = Bench(2)
    yield subject
    await subject.prober.stop()


async def test_the_first_answer_makes_it_healthy_with_its_models(bench: Bench) -> None:
    await bench.prober.start()
    await bench.prober.first_round()
    assert bench.backend.probe is ProbeState.HEALTHY
    assert bench.backend.models["m"].max_model_len == 8192
    assert bench.registry.candidates("m") == (bench.backend,)
    assert bench.engine.questions() == ["/health", "/alise/ready", "/v1/models"]


async def test_only_what_is_due_is_asked(bench: Bench) -> None:
    await bench.start()
    bench.engine.questions()
    await bench.round(9)
    assert bench.engine.questions() == ["/health"] * 9
    await bench.round()
    assert bench.engine.questions() == ["/health", "/alise/ready", "/v1/models"]
    await bench.round()
    assert bench.engine.questions() == ["/health"]


async def test_probes_of_replicas_spread(bench: Bench) -> None:
    bench.prober._pacing = Pacing(bench.pacing.sleep, iter([0.0, 0.999]).__next__)
    await bench.start()
    await bench.round()
    assert bench.pacing.asked == [
        pytest.approx(0.9 * INTERVAL),
        pytest.approx(1.1 * INTERVAL, 1e-3),
    ]


@pytest.mark.parametrize("failure", [500, 503, 404, 302, None, httpx.ConnectError("refused")])
async def test_several_failures_make_it_unhealthy_and_one_answer_healthy(
    bench: Bench, failure: int | Exception | None
) -> None:
    await bench.start()
    bench.engine.health = failure
    await bench.round()
    states = [bench.backend.probe]
    assert bench.backend.probe_error is not None
    await bench.round()
    states.append(bench.backend.probe)
    assert bench.registry.resolve("m") == "m"
    bench.engine.health = 200
    bench.engine.listing = LISTING.replace(b'"m"', b'"other"')
    bench.engine.questions()
    await bench.round()
    states.append(bench.backend.probe)
    assert states == [ProbeState.HEALTHY, ProbeState.UNHEALTHY, ProbeState.HEALTHY]
    assert bench.registry.backends[0].probe_error is None
    assert bench.engine.questions() == ["/health", "/alise/ready", "/v1/models"]
    assert list(bench.backend.models) == ["other"]


@pytest.mark.parametrize(
    ("status", "listing", "reason"),
    [
        (200, b"<html>secret</html>", "GET /v1/models: not a model list"),
        (200, b'{"data": [{"id": 7}]}', "GET /v1/models: not a model list"),
        (200, b" " * 2048, "larger than 1024 bytes"),
        (401, b"", "answered 401; check the backend's api_key_file"),
        (404, b"", "GET /v1/models answered 404"),
        (None, b"", "GET /v1/models: no answer within 0.3 s"),
    ],
)
async def test_a_backend_without_a_sensible_model_list_is_unhealthy(
    bench: Bench,
    status: int | None,
    listing: bytes,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "MAX_BYTES", 1024)
    bench.engine.models, bench.engine.listing = status, listing
    await bench.start()
    states = [bench.backend.probe]
    assert not bench.registry.has_catalogue
    await bench.round()
    states.append(bench.backend.probe)
    assert states == [ProbeState.UNKNOWN, ProbeState.UNHEALTHY]
    assert reason in str(bench.backend.probe_error)
    assert "secret" not in str(bench.backend.probe_error)


async def test_draining_is_obeyed_and_ends(bench: Bench) -> None:
    bench.engine.ready = 200
    await bench.start()
    states = [bench.backend.probe]
    bench.engine.ready = 503
    await bench.round()
    states.append(bench.backend.probe)
    assert bench.registry.candidates("m") == (bench.backend,)
    bench.engine.ready = 200
    await bench.round()
    states.append(bench.backend.probe)
    assert states == [ProbeState.HEALTHY, ProbeState.DRAINING, ProbeState.HEALTHY]


async def test_the_plugin_is_noticed_and_missed(bench: Bench) -> None:
    bench.engine.ready = 200
    await bench.start()
    seen = [bench.backend.has_plugin]
    bench.engine.ready = 404
    await bench.round()
    seen.append(bench.backend.has_plugin)
    assert seen == [True, False]
    bench.engine.questions()
    await bench.round(8)
    assert bench.engine.questions() == ["/health"] * 8


@pytest.mark.parametrize(
    ("ready", "body", "expected"),
    [
        (200, b"<html>hello</html>", ProbeState.HEALTHY),
        (200, b"", ProbeState.HEALTHY),
        (200, b'{"plugin": "other"}', ProbeState.HEALTHY),
        (503, b"no healthy upstream", ProbeState.DRAINING),
        (500, b"", ProbeState.HEALTHY),
        (302, b"", ProbeState.HEALTHY),
        (None, b"", ProbeState.HEALTHY),
    ],
)
async def test_an_odd_answer_is_no_plugin_and_no_failure(
    bench: Bench, ready: int | None, body: bytes, expected: ProbeState
) -> None:
    bench.engine.ready, bench.engine.ready_body = ready, body
    await bench.start()
    assert (bench.backend.probe, bench.backend.has_plugin) == (expected, False)


async def test_one_that_does_not_say_in_time_is_asked_rarely(bench: Bench) -> None:
    bench.engine.ready = None
    await bench.start()
    bench.engine.questions()
    await bench.round(9)
    assert bench.engine.questions() == ["/health"] * 9


async def test_a_plugin_that_does_not_say_in_time_is_as_it_was(bench: Bench) -> None:
    bench.engine.ready = 503
    await bench.start()
    bench.engine.ready = None
    await bench.round(2)
    states = [bench.backend.probe]
    assert bench.backend.has_plugin
    bench.engine.ready = 200
    await bench.round()
    states.append(bench.backend.probe)
    assert states == [ProbeState.DRAINING, ProbeState.HEALTHY]


async def test_backends_with_and_without_the_plugin_mix(pair: Bench) -> None:
    pair.engine.ready = 200
    await pair.start()
    assert [backend.has_plugin for backend in pair.registry.backends] == [True, False]
    assert {backend.probe for backend in pair.registry.backends} == {ProbeState.HEALTHY}


async def test_a_drained_backend_that_goes_away_is_unhealthy(bench: Bench) -> None:
    bench.engine.ready = 503
    await bench.start()
    assert bench.backend.probe is ProbeState.DRAINING
    bench.engine.health = httpx.ConnectError("refused")
    await bench.round(2)
    assert bench.registry.backends[0].probe is ProbeState.UNHEALTHY


async def test_middleware_that_appears_with_a_restart_is_noticed(bench: Bench) -> None:
    await bench.start()
    bench.engine.health = 503
    await bench.round()
    bench.engine.health, bench.engine.ready = 200, 503
    await bench.round()
    assert bench.backend.probe is ProbeState.DRAINING


async def test_one_that_hangs_delays_nobody(pair: Bench) -> None:
    pair.prober._settings = pair.health.model_copy(update={"probe_timeout_seconds": 30})
    pair.engine.health = None
    await pair.prober.start()
    await pair.pacing.until_asleep(1)
    hanging, fine = pair.registry.backends
    for _ in range(3):
        pair.pacing.wake()
        await pair.pacing.until_asleep(1)
    assert pair.engines[9001].asked.count("/health") == 4
    assert pair.engines[9000].asked == ["/health"]
    assert (hanging.probe, fine.probe) == (ProbeState.UNKNOWN, ProbeState.HEALTHY)


async def test_the_first_round_waits_for_everybody_but_not_for_ever(pair: Bench) -> None:
    pair.engine.health = None
    await pair.prober.start()
    await pair.prober.first_round()
    hanging, fine = pair.registry.backends
    assert "no answer within 0.3 s" in str(hanging.probe_error)
    assert fine.probe is ProbeState.HEALTHY


async def test_backends_that_come_and_go_are_followed(pair: Bench) -> None:
    await pair.start()
    pair.registry.remove(pair.backend.name)
    pair.engines[9005] = FakeEngine()
    new = pair.registry.add(BackendSettings(url="http://127.0.0.1:9005"))
    await pair.prober.first_round()
    assert new.probe is ProbeState.HEALTHY
    pair.engine.questions()
    await pair.pacing.until_asleep(1)
    await pair.round(2)
    assert pair.engine.questions() == []


async def test_the_key_is_sent_and_not_shown(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_bytes(b"engine-secret")
    bench = Bench(1, key_file)
    with capture_logs() as logs:
        await bench.start()
        bench.engine.health = 500
        await bench.round(2)
        await bench.prober.stop()
    assert bench.engine.keys == {"Bearer engine-secret"}
    assert "engine-secret" not in json.dumps(logs) + str(bench.backend.probe_error)


async def test_changes_are_logged_once_and_probes_never(bench: Bench) -> None:
    with capture_logs() as logs:
        await bench.start()
        await bench.round(5)
        bench.engine.health = 500
        await bench.round(5)
        bench.engine.health = 200
        await bench.round(5)
    told = [(entry["log_level"], entry["before"], entry["now"], entry["reason"]) for entry in logs]
    assert told == [
        ("info", "unknown", "healthy", None),
        ("warning", "healthy", "unhealthy", "GET /health answered 500"),
        ("info", "unhealthy", "healthy", None),
    ]


async def test_a_crash_of_one_probe_is_logged_and_the_next_one_runs(bench: Bench) -> None:
    bench.engine.health = RuntimeError("a defect")
    with capture_logs() as logs:
        await bench.start()
    assert [entry["event"] for entry in logs] == ["probe_crashed"]
    bench.engine.health = 200
    await bench.round()
    assert bench.backend.probe is ProbeState.HEALTHY


async def test_stopping_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    bench = Bench(3)
    bench.engine.health = None
    await bench.prober.start()
    await bench.prober.start()
    await bench.pacing.until_asleep(2)
    bench.registry.remove(bench.backend.name)
    await bench.prober.stop()
    await bench.prober.stop()
    assert asyncio.all_tasks() == before
    bench.registry.add(BackendSettings(url="http://127.0.0.1:9009"))
    assert asyncio.all_tasks() == before


async def test_no_backends_is_a_finished_round() -> None:
    bench = Bench(0)
    await bench.prober.start()
    await bench.prober.first_round()
    await bench.prober.stop()
