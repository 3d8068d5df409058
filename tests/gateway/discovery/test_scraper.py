import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from structlog.testing import capture_logs

from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.discovery.rounds import Pacing
from alise_gateway.discovery.scraper import Scraper
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.scrape import ScrapeResult
from alise_gateway.settings import BackendSettings, GatewaySettings, HealthSettings
from fakes.clock import FakeClock
from fakes.pacing import FakePacing

INTERVAL = 1.0
PAGE = (
    'vllm:num_requests_running{engine="0"} 3\nvllm:num_requests_waiting{engine="0"} 1\n'
    'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="101"} 1\n'
)
Answer = int | str | Exception | None


class Bench:
    """A scraper over fake engines, driven round by round.

    Attributes:
        answers: By port, what ``/metrics`` gives: a status, a page, an error; ``None`` hangs.
        told: What ``on_scraped`` was told, with the capacity that was known by then.
    """

    def __init__(self, count: int) -> None:
        self.clock = FakeClock()
        self.pacing = FakePacing()
        self.answers: dict[int, Answer] = dict.fromkeys(range(9000, 9000 + count), PAGE)
        self.asked: list[str] = []
        self.clients: list[httpx.AsyncClient] = []
        self.told: list[tuple[str, ScrapeResult, int | None]] = []
        health = HealthSettings(scrape_interval_seconds=INTERVAL, scrape_timeout_seconds=0.3)
        backends = tuple(BackendSettings(url=f"http://127.0.0.1:{port}") for port in self.answers)
        settings = GatewaySettings(backends=backends, health=health)
        self.registry = BackendRegistry(settings, self.clock)
        pacing = Pacing(self.pacing.sleep, lambda: 0.5)
        self.scraper = Scraper(self.registry, health, self.clock, self.create_client, pacing)
        self.scraper.on_scraped = self.on_scraped

    def create_client(self) -> httpx.AsyncClient:
        made = httpx.AsyncClient(transport=httpx.MockTransport(self.route), trust_env=False)
        self.clients.append(made)
        return made

    async def route(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        answer = self.answers[request.url.port or 80]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, str):
            return httpx.Response(200, stream=httpx.ByteStream(answer.encode()))
        return httpx.Response(answer or 500, stream=httpx.ByteStream(b""))

    def on_scraped(self, backend: Backend, result: ScrapeResult) -> None:
        self.told.append((backend.name, result, backend.admission.capacity_tokens))

    @property
    def backend(self) -> Backend:
        return self.registry.backends[0]

    @property
    def results(self) -> list[ScrapeResult]:
        return [result for _, result, _ in self.told]

    async def start(self) -> None:
        await self.scraper.start()
        await self.pacing.until_asleep(len(self.answers))

    async def round(self) -> None:
        self.clock.advance(INTERVAL)
        self.pacing.wake()
        await self.pacing.until_asleep(len(self.registry.backends))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    subject = Bench(1)
    yield subject
    await subject.scraper.stop()


async def test_the_first_round_tells_the_admission_what_the_engine_says(bench: Bench) -> None:
    assert bench.backend.admission.is_blind(bench.clock.now())
    await bench.scraper.start()
    await bench.scraper.first_round()
    admission = bench.backend.admission
    assert bench.asked == ["/metrics"]
    assert admission.capacity_tokens == 1_600
    assert admission.figures is not None
    assert (admission.figures.running, admission.figures.waiting) == (3, 1)
    assert admission.figures.at == bench.clock.now()
    assert not admission.is_blind(bench.clock.now())
    assert bench.told == [("127.0.0.1:9000", ScrapeResult.READ, 1_600)]


async def test_each_engine_is_asked_by_a_client_of_its_own_until_it_is_gone() -> None:
    bench = Bench(3)
    await bench.start()
    await bench.round()
    assert len(bench.clients) == 3

    name = bench.backend.name
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"scrape-{name}"]
    bench.registry.remove(name)
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [client.is_closed for client in bench.clients] == [True, False, False]
    await bench.scraper.stop()
    assert all(client.is_closed for client in bench.clients)


async def test_every_round_brings_fresh_figures(bench: Bench) -> None:
    await bench.start()
    bench.answers[9000] = PAGE.replace('"101"', '"201"')
    await bench.round()
    assert bench.backend.admission.capacity_tokens == 3_200
    assert bench.pacing.asked == [INTERVAL, INTERVAL]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (404, ScrapeResult.ABSENT),
        (405, ScrapeResult.ABSENT),
        ("# TYPE python_info gauge\npython_info 1\n", ScrapeResult.ABSENT),
        ("vllm:num_requests_running NaN\n", ScrapeResult.ABSENT),
        (401, ScrapeResult.FAILED),
        (500, ScrapeResult.FAILED),
        (302, ScrapeResult.FAILED),
        ("<html>secret</html>", ScrapeResult.FAILED),
        ("", ScrapeResult.FAILED),
        (None, ScrapeResult.FAILED),
        (httpx.ConnectError("refused"), ScrapeResult.FAILED),
    ],
)
async def test_an_answer_of_no_use_leaves_what_was_known(
    bench: Bench, answer: Answer, result: ScrapeResult
) -> None:
    await bench.start()
    figures = bench.backend.admission.figures
    bench.answers[9000] = answer
    for _ in range(11):
        await bench.round()
    assert set(bench.results[1:]) == {result}
    assert bench.backend.admission.figures is figures
    assert bench.backend.admission.capacity_tokens == 1_600
    assert bench.backend.admission.is_blind(bench.clock.now()), "what is old is not gone by"
    bench.answers[9000] = PAGE
    await bench.round()
    assert not bench.backend.admission.is_blind(bench.clock.now())


async def test_only_changes_are_logged_and_never_what_was_answered(bench: Bench) -> None:
    with capture_logs() as logs:
        await bench.start()
        for answer in (PAGE, "<html>secret</html>", 500, 404, 404, PAGE, PAGE):
            bench.answers[9000] = answer
            await bench.round()
    told = [(entry["log_level"], entry["before"], entry["now"], entry["reason"]) for entry in logs]
    assert told == [
        ("warning", "read", "failed", "GET /metrics: not a page of metrics"),
        ("info", "failed", "absent", None),
        ("info", "absent", "read", None),
    ]
    assert "secret" not in json.dumps(logs)


async def test_one_that_hangs_delays_nobody_and_the_first_round_ends() -> None:
    pair = Bench(2)
    pair.answers[9000] = None
    await pair.scraper.start()
    await pair.scraper.first_round()
    hanging, fine = pair.registry.backends
    assert hanging.admission.figures is None
    assert fine.admission.capacity_tokens == 1_600
    assert pair.results == [ScrapeResult.READ, ScrapeResult.FAILED]
    await pair.scraper.stop()


async def test_a_crash_of_one_attempt_is_logged_and_the_next_one_runs(bench: Bench) -> None:
    bench.answers[9000] = RuntimeError("a defect")
    with capture_logs() as logs:
        await bench.start()
    assert [entry["event"] for entry in logs] == ["scrape_crashed"]
    bench.answers[9000] = PAGE
    await bench.round()
    assert bench.results == [ScrapeResult.READ]


async def test_backends_that_come_and_go_are_followed_and_stopping_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    bench = Bench(2)
    await bench.start()
    bench.registry.remove(bench.backend.name)
    bench.answers[9005] = PAGE
    new = bench.registry.add(BackendSettings(url="http://127.0.0.1:9005"))
    await bench.scraper.first_round()
    assert new.admission.capacity_tokens == 1_600
    await bench.scraper.stop()
    await bench.scraper.stop()
    assert asyncio.all_tasks() == before
