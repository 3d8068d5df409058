"""The admin port's listener."""

import asyncio
import signal
import socket

import httpx
import pytest

from alise_core.errors import ConfigError
from alise_gateway.admin import AdminServer
from alise_gateway.control.api import create_control_app
from fakes.control import FakeControlView


def server() -> AdminServer:
    return AdminServer(lambda: create_control_app(FakeControlView(), admin=True))


async def test_it_answers_as_soon_as_it_is_open_and_stops() -> None:
    before = asyncio.all_tasks()
    handler = signal.getsignal(signal.SIGTERM)
    admin = server()
    await admin.open("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{admin.port}") as http:
        assert (await http.get("/alise/queue")).status_code == 200
        assert signal.getsignal(signal.SIGTERM) is handler, "signals belong to the process"
    await admin.close()
    assert asyncio.all_tasks() == before
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", admin.port or 0))


async def test_closing_what_was_never_open_is_nothing() -> None:
    await server().close()


async def test_an_address_that_cannot_be_had() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="choose another --admin-port"):
            await server().open("127.0.0.1", taken.getsockname()[1])


async def test_it_listens_on_version_six_too() -> None:
    admin = server()
    try:
        await admin.open("::1", 0)
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    assert admin.port
    await admin.close()
