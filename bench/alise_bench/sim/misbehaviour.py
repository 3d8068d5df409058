"""What each fault does to a reply. The shell around ``faults``.

A fault acts before the reply (``before_reply``), on its headers (``before_reply`` adds one), on
the stream of events (``in_stream``) or on a complete body (``in_body``). Each returns whether
the reply is over.
"""

import asyncio

from alise_bench.sim.api.errors import ApiError
from alise_bench.sim.exchange import JSON_TYPE, SSE_TYPE, Exchange, status_line
from alise_bench.sim.faults import Fault, FaultKind
from alise_core.wire.openai import Endpoint

GARBAGE_HTTP = b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\x00\xff\xfe\r\n\r\n"
GARBAGE_SSE = b'data: {"id": "chatcmpl-\xff\xfe, \'choices\': [}\n\nnonsense\x00\n\n'

_MIDSTREAM = frozenset(
    {
        FaultKind.HANG_MIDSTREAM,
        FaultKind.DIE_MIDSTREAM,
        FaultKind.CLOSE_MIDSTREAM,
        FaultKind.GARBAGE_SSE,
        FaultKind.NEVER_ENDING,
    }
)


def strikes_midstream(fault: Fault | None) -> bool:
    """Whether the fault waits for the reply's body."""
    return fault is not None and fault.kind in _MIDSTREAM


async def before_reply(
    fault: Fault, exchange: Exchange, endpoint: Endpoint, *, stream: bool
) -> bool:
    """Act before the first byte; true when that was the whole reply."""
    match fault.kind:
        case FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
            return False
        case FaultKind.HUGE_HEADER:
            exchange.reply_headers.append((b"x-huge", b"h" * fault.size))
            return False
        case FaultKind.HANG_BEFORE_HEADERS:
            await exchange.until_gone()
        case FaultKind.GARBAGE_HTTP:
            await _raw(exchange, GARBAGE_HTTP)
        case FaultKind.WRONG_LENGTH:
            await _raw(exchange, _wrong_length(stream=stream))
        case FaultKind.STATUS | FaultKind.ERROR_FIRST_EVENT:
            await _error(fault, exchange, endpoint, stream=stream)
        case _:
            return False
    return True


async def in_stream(fault: Fault, exchange: Exchange, event: bytes) -> bool:
    """Act in the middle of a stream, before ``event`` is sent; true when the stream is over."""
    match fault.kind:
        case FaultKind.GARBAGE_SSE:
            await exchange.write(GARBAGE_SSE)
            return False
        case FaultKind.CLOSE_MIDSTREAM:
            await exchange.finish()
        case FaultKind.DIE_MIDSTREAM:
            await _flush_and_reset(exchange)
        case FaultKind.NEVER_ENDING:
            while True:
                await exchange.write(event)
                await asyncio.sleep(fault.seconds)
        case _:
            await exchange.until_gone()
    return True


async def in_body(fault: Fault, exchange: Exchange, body: bytes) -> None:
    """Send ``body`` as far as the fault lets it come."""
    if fault.kind is FaultKind.GARBAGE_SSE:
        await exchange.reply_bytes(200, GARBAGE_SSE, [JSON_TYPE])
        return
    if fault.kind is FaultKind.NEVER_ENDING:
        await exchange.start(200, [JSON_TYPE])
        await in_stream(fault, exchange, b" ")
        return
    length = (b"content-length", str(len(body)).encode())
    await exchange.start(200, [length, JSON_TYPE])
    await exchange.write(body[: len(body) // 2])
    if fault.kind is FaultKind.CLOSE_MIDSTREAM:
        exchange.connection.transport.close()
        await exchange.until_gone()
    else:
        await in_stream(fault, exchange, b"")


async def _error(fault: Fault, exchange: Exchange, endpoint: Endpoint, *, stream: bool) -> None:
    error = ApiError(fault.status, "simulated failure")
    if fault.kind is FaultKind.ERROR_FIRST_EVENT and stream:
        await exchange.start(200, [SSE_TYPE])
        await exchange.finish(error.event(endpoint))
    else:
        await exchange.reply(fault.status, error.body(endpoint))


async def _raw(exchange: Exchange, data: bytes) -> None:
    exchange.connection.transport.write(data)
    exchange.connection.transport.close()
    await exchange.until_gone()


async def _flush_and_reset(exchange: Exchange) -> None:
    # A reset throws away what the kernel has not sent; one turn of the loop lets it leave.
    await asyncio.sleep(0)
    exchange.connection.reset()
    await exchange.until_gone()


def _wrong_length(*, stream: bool) -> bytes:
    kind = SSE_TYPE if stream else JSON_TYPE
    headers = kind[0] + b": " + kind[1] + b"\r\ncontent-length: 100000\r\n\r\n"
    body = b'data: {"choices":[]}\n\n' if stream else b'{"id": "cut"'
    return status_line(200) + headers + body
