"""Gateways that predict, with bundles that load in milliseconds, and what tests ask of them."""

from pathlib import Path
from typing import Any

from alise_gateway.identity.keys import hash_key
from fakes.gateway import RunningGateway
from fakes.predictor_bundle import BundleOptions, tiny_bundle
from fakes.raw_client import RawReply, chat, connected, post

SHOWN = "x-alise-predicted-tokens"
NEVER_SECONDS = 80_000.0


def predictor(directory: Path, **settings: Any) -> dict[str, Any]:
    """Settings of a gateway with a bundle there; nothing of it happens by itself."""
    quiet = {"reload_seconds": NEVER_SECONDS, "snapshot_seconds": NEVER_SECONDS}
    return {"bundle_dir": directory, **quiet, **settings}


def bundle(directory: Path, **options: Any) -> Path:
    """A tiny bundle's directory."""
    return tiny_bundle(directory, BundleOptions(**options)).directory


def tenants(path: Path, **keys: tuple[str, bool]) -> Path:
    """A keys file.

    Args:
        path: Where.
        keys: Tenant to its key and whether it may schedule.
    """
    rows = [
        f"  - {{id: {name}, keys: [{{hash: '{hash_key(key)}'}}], may_schedule: {str(may).lower()}}}"
        for name, (key, may) in keys.items()
    ]
    path.write_text("tenants:\n" + "\n".join(rows) + "\n")
    return path


async def send(gateway: RunningGateway, request: bytes) -> RawReply:
    """One request on a connection of its own."""
    async with connected(gateway.port) as client:
        client.send(request)
        return await client.reply()


async def predict(gateway: RunningGateway, *headers: str, **fields: Any) -> dict[str, Any]:
    """What ``/v1/predict`` says of a chat request."""
    reply = await send(gateway, post(chat(**fields), *headers, path="/v1/predict"))
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json()
    return found
