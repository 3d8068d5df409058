from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from alise_gateway.control import errors


def application() -> FastAPI:
    """Ways to fail that the real endpoints do not have today."""
    app = FastAPI()
    errors.install(app)

    @app.get("/number/{value}")
    async def number(value: int) -> int:
        return value

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "private detail")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("broke")

        return StreamingResponse(parts())

    return app


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application()), base_url="http://x")


async def test_invalid_parameters_are_named_and_not_quoted() -> None:
    async with client() as http:
        reply = await http.get("/number/secret-text")
    assert reply.status_code == 422
    assert reply.json()["error"]["param"] == "path.value"
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert "secret-text" not in reply.text


async def test_other_http_errors_keep_their_status_and_not_their_detail() -> None:
    async with client() as http:
        reply = await http.get("/teapot")
    assert reply.status_code == 418
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert "private" not in reply.text


async def test_a_reply_that_has_begun_cannot_become_an_error_reply() -> None:
    async with client() as http:
        with pytest.raises(RuntimeError, match="broke"):
            await http.get("/half")
