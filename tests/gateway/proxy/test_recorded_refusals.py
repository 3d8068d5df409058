"""A full engine's refusals, as a real vLLM sent them after status 200."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alise_core.units import ModelName
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.request import InferenceRequest
from alise_gateway.proxy.answers import Answer, StreamAnswer
from alise_gateway.proxy.chunked import WholeChunks
from alise_gateway.proxy.head import ResponseHead

RECORDINGS = Path(__file__).parents[2] / "fixtures/vllm_0_32"


class Side:
    """Owner and sink of one answer; keeps what it is told."""

    takes_chunks = True
    keeps_alive = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.refused: list[Answer] = []

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.sent.append

    def end(self, data: bytes, *, keep_alive: bool) -> None:
        self.sent.append(data)

    def cut(self) -> None:
        raise AssertionError("a refusal is no broken answer")

    def commit(self) -> bytes:
        return b""

    def on_answered(self, *, reusable: bool) -> None:
        raise AssertionError("a refusal is no answer")

    def on_stream_error(self, *, reusable: bool) -> None:
        raise AssertionError("the client must not see a refusal as a stream")

    def on_refused(self, answer: Answer, *, reusable: bool) -> None:
        self.refused.append(answer)

    def on_truncated(self) -> None:
        raise AssertionError("a refusal is no lost stream")


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("chat_stream_full", Endpoint.CHAT_COMPLETIONS),
        ("completion_stream_full", Endpoint.COMPLETIONS),
        ("message_stream_full", Endpoint.MESSAGES),
    ],
)
def test_a_full_engine_is_no_broken_engine(name: str, endpoint: Endpoint) -> None:
    _, _, body = (RECORDINGS / f"{name}.bin").read_bytes().partition(b"\r\n\r\n")
    side = Side()
    head = ResponseHead(
        200, [(b"content-type", b"text/event-stream")], None, chunked=True, keep_alive=True
    )
    request = InferenceRequest(endpoint, ModelName("m"), stream=True, max_tokens=None, body=b"")
    answer = StreamAnswer(head, side, side, request, WholeChunks())

    answer.on_body(body)

    assert [refused.status for refused in side.refused] == [503]
    assert side.sent == []
