"""Serves the inference endpoints: body in, engine, reply out.

Owns no state beyond the requests it is serving. A rejected or failing streaming request has
already been answered with HTTP 200, so its error travels as an event, as in vLLM.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from alise_bench.sim.api.bodies import (
    ChatBody,
    CompletionBody,
    EmbeddingsBody,
    MessagesBody,
    ResponsesBody,
    parse,
)
from alise_bench.sim.api.chat import ChatRenderer
from alise_bench.sim.api.completions import CompletionRenderer
from alise_bench.sim.api.embeddings import embed
from alise_bench.sim.api.errors import ApiError, busy, unknown_model
from alise_bench.sim.api.generation import (
    ID_PREFIX,
    Generating,
    Generation,
    Identity,
    Options,
    prepare,
)
from alise_bench.sim.api.messages import MessageRenderer
from alise_bench.sim.api.rendering import Renderer, Totals, encode_json
from alise_bench.sim.api.responses import ResponsesRenderer
from alise_bench.sim.config import EngineConfig
from alise_bench.sim.engine import Engine, OutputStream, QueueFull
from alise_bench.sim.exchange import JSON_TYPE, SSE_TYPE, Exchange
from alise_bench.sim.faults import Fault, FaultPlan
from alise_bench.sim.misbehaviour import before_reply, in_body, in_stream, strikes_midstream
from alise_core.clock import Clock
from alise_core.wire import headers
from alise_core.wire.openai import Endpoint

_BODIES: dict[Endpoint, type[Generating]] = {
    Endpoint.CHAT_COMPLETIONS: ChatBody,
    Endpoint.COMPLETIONS: CompletionBody,
    Endpoint.RESPONSES: ResponsesBody,
    Endpoint.MESSAGES: MessagesBody,
}
_RENDERERS: dict[Endpoint, Callable[[Generation], Renderer]] = {
    Endpoint.CHAT_COMPLETIONS: ChatRenderer,
    Endpoint.COMPLETIONS: CompletionRenderer,
    Endpoint.RESPONSES: ResponsesRenderer,
    Endpoint.MESSAGES: MessageRenderer,
}


@dataclass(slots=True)
class _Reply:
    """What is needed to answer one request."""

    exchange: Exchange
    generation: Generation
    renderer: Renderer
    fault: Fault | None


class Inference:
    """The inference endpoints of one engine.

    Args:
        config: The engine's choices.
        engine: Runs the requests.
        faults: Asked once per request.
        clock: For ``created``.
    """

    def __init__(
        self, config: EngineConfig, engine: Engine, faults: FaultPlan, clock: Clock
    ) -> None:
        self._config = config
        self._engine = engine
        self._faults = faults
        self._clock = clock
        self._ids = random.Random(config.seed)  # noqa: S311  ids need not be secret
        self._options = Options(
            config.lengths,
            engine.scheduler.max_request_tokens,
            config.seed,
            config.tool_call_share,
            config.kv_dtype,
        )

    async def serve(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """Answer one request.

        Raises:
            ClientGone: The client left; nothing is left in the engine.
        """
        fault = self._faults.for_request(exchange.path)
        raw = await exchange.body()
        try:
            if endpoint is Endpoint.EMBEDDINGS:
                await self._embeddings(exchange, raw, fault)
                return
            generation = self._prepare(exchange, endpoint, raw)
        except ApiError as error:
            await exchange.reply(error.status, error.body(endpoint))
            return
        reply = _Reply(exchange, generation, _RENDERERS[endpoint](generation), fault)
        if fault is None:
            await self._generate(reply)
            return
        if await before_reply(fault, exchange, endpoint, stream=generation.stream):
            return
        self._engine.slow_down(fault.factor)
        try:
            await self._generate(reply)
        finally:
            self._engine.speed_up(fault.factor)

    def _prepare(self, exchange: Exchange, endpoint: Endpoint, raw: bytes) -> Generation:
        body = parse(_BODIES[endpoint], raw, exchange.header(b"content-type") or "")
        identity = Identity(
            self._request_id(exchange),
            self._model(body.model),
            int(self._clock.unix()),
            _header_priority(exchange),
        )
        return prepare(body, identity, self._options)

    async def _generate(self, reply: _Reply) -> None:
        if reply.generation.stream:
            await self._stream(reply)
        else:
            await self._whole(reply)

    def _submit(self, generation: Generation) -> OutputStream:
        try:
            return self._engine.submit(generation.sequences())
        except QueueFull as error:
            raise busy() from error

    async def _whole(self, reply: _Reply) -> None:
        generation = reply.generation
        try:
            stream = self._submit(generation)
        except ApiError as error:
            await reply.exchange.reply(error.status, error.body(generation.endpoint))
            return
        try:
            remaining = len(generation.outputs)
            while remaining:
                remaining -= sum(gain.finish is not None for gain in await stream.take())
        finally:
            self._engine.abort(stream)
        body = encode_json(reply.renderer.whole(_totals(generation, stream)))
        if reply.fault is not None and strikes_midstream(reply.fault):
            await in_body(reply.fault, reply.exchange, body)
        else:
            await reply.exchange.reply_bytes(200, body, [JSON_TYPE])

    async def _stream(self, reply: _Reply) -> None:
        exchange = reply.exchange
        await exchange.start(200, [SSE_TYPE])
        try:
            stream = self._submit(reply.generation)
        except ApiError as error:
            await exchange.write_events(error.event(reply.generation.endpoint))
            await exchange.finish()
            return
        try:
            await exchange.write_events(reply.renderer.opening())
            if await self._pump(reply, stream):
                totals = _totals(reply.generation, stream)
                await exchange.write_events(reply.renderer.ending(totals))
                await exchange.finish()
        finally:
            self._engine.abort(stream)

    async def _pump(self, reply: _Reply, stream: OutputStream) -> bool:
        """Write events until the last token; false when a fault ended the stream."""
        renderer, write = reply.renderer, reply.exchange.write
        fault = reply.fault if strikes_midstream(reply.fault) else None
        remaining = len(reply.generation.outputs)
        completed = events = 0
        head = renderer.first()
        while remaining:
            data = b""
            gains = await stream.take()
            for gain in gains:
                completed += gain.count
                remaining -= gain.finish is not None
                data += renderer.gain(gain, completed)
            # The opening comes with the first token, in an event of its own.
            if head:
                await reply.exchange.write_events(head)
                head = b""
            if fault is not None and events >= fault.after_events:
                if await in_stream(fault, reply.exchange, data):
                    return False
                fault = None
            if len(gains) == 1:
                await write(data)
            else:
                await reply.exchange.write_events(data)
            events += 1
        return True

    async def _embeddings(self, exchange: Exchange, raw: bytes, fault: Fault | None) -> None:
        endpoint = Endpoint.EMBEDDINGS
        body = parse(EmbeddingsBody, raw, exchange.header(b"content-type") or "")
        document = embed(
            body,
            ID_PREFIX[endpoint] + self._request_id(exchange),
            self._model(body.model),
            int(self._clock.unix()),
            self._options.max_model_len,
        )
        if fault is not None and await before_reply(fault, exchange, endpoint, stream=False):
            return
        encoded = encode_json(document)
        if fault is not None and strikes_midstream(fault):
            await in_body(fault, exchange, encoded)
        else:
            await exchange.reply_bytes(200, encoded, [JSON_TYPE])

    def _model(self, name: str | None) -> str:
        if name is None or name == self._config.model:
            return self._config.model
        if name not in self._config.aliases:
            raise unknown_model(name, (self._config.model, *self._config.aliases))
        return name

    def _request_id(self, exchange: Exchange) -> str:
        given = exchange.header(headers.REQUEST_ID)
        return given or f"{self._ids.getrandbits(64):016x}"


def _totals(generation: Generation, stream: OutputStream) -> Totals:
    return Totals(
        generation.prompt_tokens,
        sum(output.tokens for output in generation.outputs),
        sum(sequence.cached_tokens for sequence in stream.sequences),
    )


def _header_priority(exchange: Exchange) -> int | None:
    """VLLM ignores a value that is no integer."""
    try:
        return int(exchange.header(headers.VLLM_PRIORITY) or "")
    except ValueError:
        return None
