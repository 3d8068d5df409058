"""What tests of failures ask of a gateway, and what a clean failure looks like."""

import json
from typing import Any

from alise_core.outcome import SPECS, Outcome
from fakes.gateway import RunningGateway
from fakes.raw_client import RawReply, chat, connected, post


async def ask(gateway: RunningGateway, *headers: str, **fields: Any) -> RawReply:
    """Send one chat request on a connection of its own."""
    async with connected(gateway.port) as client:
        client.send(post(chat(**fields), *headers))
        return await client.reply()


def check_refused(reply: RawReply, outcome: Outcome, status: int, code: str) -> None:
    """A clean error reply."""
    assert reply.status == status
    assert reply.error["type"] == SPECS[outcome].error_type
    assert reply.error["code"] == code
    assert "127.0.0.1" not in reply.error["message"]
    assert reply.headers.get("x-alise-dropped-reason") == (
        str(outcome) if SPECS[outcome].dropped else None
    )
    assert ("retry-after" in reply.headers) == SPECS[outcome].retry_after


def last_event(reply: RawReply) -> Any:
    """JSON of the event that closes a broken stream; the framing around it is whole."""
    assert reply.status == 200
    event = reply.body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    assert event.startswith(b"data: ")
    return json.loads(event.removeprefix(b"data: "))
