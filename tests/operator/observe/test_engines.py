from collections.abc import AsyncIterator, Iterable

import httpx
import pytest

from alise_core.crds.names import Kind
from alise_operator.decide.engine import EngineFacts
from alise_operator.decide.scope import WorkKey
from alise_operator.observe.engines import EngineReader, EngineTarget, EngineUnreadable

A, B = (WorkKey(Kind.MODEL_POOL, "ns", name) for name in "ab")
PAGE = (
    'vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="11"} 1\n'
    'vllm:num_requests_running{engine="0",model_name="m"} 0\n'
)


def says(text: str, status: int = 200) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(text.encode()))


FACTS = EngineFacts(160, ("auto",), ("m",))


class Engines:
    """What engines answer, and what the reader told."""

    def __init__(self) -> None:
        self.pages: dict[str, httpx.Response | Exception] = {}
        self.asked: list[str] = []
        self.wanted: list[str] = []
        self.unwanted: list[str] = []
        self.told: list[list[WorkKey]] = []

    def reader(self) -> EngineReader:
        reader = EngineReader(60, 5, lambda: 0.5, self._client)
        reader.on_wanted = self.wanted.append
        reader.on_unwanted = self.unwanted.append
        reader.on_facts = self._told
        return reader

    def _told(self, keys: Iterable[WorkKey]) -> None:
        self.told.append(list(keys))

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        answer = self.pages.pop(request.url.host, None) or says(PAGE)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def engines() -> Engines:
    return Engines()


@pytest.fixture
async def reader(engines: Engines) -> AsyncIterator[EngineReader]:
    reader = engines.reader()
    yield reader
    await reader.close()


def target(host: str, incarnation: str = "uid/0") -> EngineTarget:
    return EngineTarget(f"{host}:8000", f"http://{host}:8000/metrics", incarnation)


async def test_a_new_endpoint_is_read_at_once_and_then_now_and_then(
    engines: Engines, reader: EngineReader
) -> None:
    reader.want(A, [target("h")])
    assert engines.wanted == ["h:8000"]

    assert await reader.read("h:8000") == 60

    assert engines.asked == ["http://h:8000/metrics"]
    assert reader.facts == {"h:8000": FACTS}
    assert engines.told == [[A]]


async def test_what_says_the_same_again_is_no_news(engines: Engines, reader: EngineReader) -> None:
    reader.want(A, [target("h")])
    for _ in range(3):
        await reader.read("h:8000")

    assert engines.told == [[A]]


async def test_wanting_the_same_again_asks_for_nothing(
    engines: Engines, reader: EngineReader
) -> None:
    for _ in range(3):
        reader.want(A, [target("h")])

    assert engines.wanted == ["h:8000"]


async def test_a_restarted_engine_is_another_one(engines: Engines, reader: EngineReader) -> None:
    reader.want(A, [target("h")])
    await reader.read("h:8000")

    reader.want(A, [target("h", "uid/1")])

    assert engines.wanted == ["h:8000", "h:8000"]
    assert reader.facts == {}


async def test_an_endpoint_of_two_pools_stays_until_both_let_go(
    engines: Engines, reader: EngineReader
) -> None:
    reader.want(A, [target("h")])
    reader.want(B, [target("h")])
    await reader.read("h:8000")
    assert engines.told == [[A, B]]

    reader.want(A, [])
    assert (engines.unwanted, reader.facts) == ([], {"h:8000": FACTS})
    reader.want(B, [])
    assert (engines.unwanted, reader.facts) == (["h:8000"], {})
    assert await reader.read("h:8000") is None


@pytest.mark.parametrize(
    "answer",
    [
        says("", 500),
        says("<html>"),
        says("x" * 5_000_000),
        httpx.ConnectError("refused"),
    ],
    ids=["error", "no metrics", "too large", "refused"],
)
async def test_what_cannot_be_read_leaves_what_is_known(
    engines: Engines, reader: EngineReader, answer: httpx.Response | Exception
) -> None:
    reader.want(A, [target("h")])
    await reader.read("h:8000")
    engines.pages["h"] = answer

    with pytest.raises(EngineUnreadable, match="http://h:8000/metrics"):
        await reader.read("h:8000")

    assert reader.facts == {"h:8000": FACTS}


async def test_an_engine_that_cannot_be_read_has_been_asked(
    engines: Engines, reader: EngineReader
) -> None:
    reader.want(A, [target("h")])
    for _ in range(2):
        engines.pages["h"] = says("", 404)
        with pytest.raises(EngineUnreadable, match="404"):
            await reader.read("h:8000")

    assert reader.facts == {"h:8000": EngineFacts()}
    assert engines.told == [[A]]


async def test_an_engine_that_was_replaced_while_it_was_read_is_not_believed(
    engines: Engines, reader: EngineReader
) -> None:
    class Replacing(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            reader.want(A, [target("h", "uid/1")])
            yield PAGE.encode()

    engines.pages["h"] = httpx.Response(200, stream=Replacing())
    reader.want(A, [target("h")])

    assert await reader.read("h:8000") is None
    assert reader.facts == {}


async def test_forgetting_all(engines: Engines, reader: EngineReader) -> None:
    reader.want(A, [target("h")])
    reader.want(B, [target("i")])
    await reader.read("h:8000")

    reader.forget_all()

    assert reader.facts == {}
    assert sorted(engines.unwanted) == ["h:8000", "i:8000"]
