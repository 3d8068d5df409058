"""The routes under which a running engine is looked at and changed: a vLLM endpoint plugin.

vLLM loads it where ``VLLM_PLUGINS`` names ``alise``; ``alise_vllm.control.middleware`` has the
routes about readiness, which work without it.

``GET /alise/state``
    ``{"engines": [{part: {key: value}}]}``, one for each data-parallel rank.
``POST /alise/tune``
    ``{part: {key: value}}``; answers ``{"engines": [{part: {key: [before, after]}}]}``, or 400 and
    nothing has changed.
``GET /alise/metrics``
    The same figures as Prometheus series.

vLLM's ``--api-key`` does not cover them. The first two need the admin token where one is set
(``alise_vllm.settings``); the third is as open as vLLM's own ``/metrics``.
"""

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, NoReturn

from prometheus_client import REGISTRY
from starlette.requests import Request
from starlette.responses import Response

from alise_core.errors import ConfigError
from alise_vllm.control.engine_access import PLAN, STATE, TUNE, EngineClient, EngineSilent, ask
from alise_vllm.control.exposition import EngineSeries, States, page
from alise_vllm.control.replies import Reply, come_later, error, refusal
from alise_vllm.settings import TOKEN_REMEDY, read_admin_token

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.datastructures import State

MOST_BYTES = 65_536
"""Of a request to change something; all keys of all parts fit many times."""
_PAGE = "text/plain; version=0.0.4; charset=utf-8"
_LOG = logging.getLogger("vllm.alise")
"""vLLM shows what is said under its own name."""


class AliseEndpoint:
    """See the module; vLLM's ``EndpointPlugin``."""

    name = "alise"
    required_tasks = None
    """Whatever the model is for."""

    def __init__(self) -> None:
        self._engine: EngineClient | None = None
        self._token: str | None = None
        self._one_at_a_time = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    def attach_router(self, app: "FastAPI") -> None:
        """Add the routes."""
        for path, method, route in (
            ("/alise/state", "GET", self.state),
            ("/alise/tune", "POST", self.tune),
            ("/alise/metrics", "GET", self.metrics),
        ):
            app.add_api_route(path, route, methods=[method], include_in_schema=False)

    async def init_state(
        self, engine_client: EngineClient | None, state: "State", args: object
    ) -> None:
        """The engine is there, unless this is a server without one.

        Raises:
            ConfigError: The settings are wrong; the server does not start.
        """
        del args
        self._token = read_admin_token(state.vllm_config.additional_config)
        if self._token is None:
            _LOG.warning("Whoever reaches this port may change the engine: %s", TOKEN_REMEDY)
        if engine_client is None:
            return
        self._engine = engine_client
        series = EngineSeries(self._look)
        REGISTRY.register(series)
        self._refreshing = asyncio.create_task(series.keep_fresh(), name="alise-engine-series")

    async def state(self, request: Request) -> Response:
        """``GET /alise/state``."""
        denied = refusal(self._token, request.headers.raw)
        if denied is not None:
            return _response(denied)
        try:
            return _response(Reply(200, {"engines": await self._look()}))
        except EngineSilent as silent:
            return _response(_silent(silent))

    async def tune(self, request: Request) -> Response:
        """``POST /alise/tune``."""
        denied = refusal(self._token, request.headers.raw)
        if denied is not None:
            return _response(denied)
        try:
            changes = _parse(await _read(request))
            return _response(await self._tune(json.dumps(changes)))
        except ConfigError as wrong:
            return _response(error(400, str(wrong), code="invalid_change"))
        except EngineSilent as silent:
            return _response(_silent(silent))

    async def metrics(self, request: Request) -> Response:
        """``GET /alise/metrics``."""
        del request
        try:
            return Response(page(await self._look()), media_type=_PAGE)
        except EngineSilent as silent:
            return _response(_silent(silent))

    async def _tune(self, changes: str) -> Reply:
        # All engines agree before one is changed, and nobody else changes one in between.
        async with self._one_at_a_time:
            answers = await self._ask(PLAN, changes)
            refused = [answer for answer in answers if "refused" in answer]
            if not refused:
                answers = await self._ask(TUNE, changes)
                refused = [answer for answer in answers if "refused" in answer]
        if refused:
            said, param = refused[0]["refused"], refused[0]["param"]
            return error(400, said, code="invalid_change", param=param)
        changed = [answer["changed"] for answer in answers]
        _LOG.info("Tuned: %s", json.dumps(changed))
        return Reply(200, {"engines": changed})

    async def _look(self) -> States:
        return await self._ask(STATE)

    async def _ask(self, method: str, *texts: str) -> list[Any]:
        if self._engine is None:
            raise EngineSilent("this server has no engine")
        return await ask(self._engine, method, *texts)


async def _read(request: Request) -> bytes:
    """The body.

    Raises:
        ConfigError: It is too long.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise ConfigError(f"the body is longer than {MOST_BYTES} bytes; send less at once")
    return bytes(body)


def _parse(body: bytes) -> object:
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as wrong:
        raise ConfigError("the body is not valid JSON; send {part: {key: value}}") from wrong


def _refuse_constant(name: str) -> NoReturn:
    """What Python's JSON takes and no standard knows: NaN and the infinities."""
    raise ValueError(name)


def _silent(silent: EngineSilent) -> Reply:
    return come_later(f"The engine does not answer: {silent}", "engine_silent")


def _response(reply: Reply) -> Response:
    return Response(
        reply.body,
        reply.status,
        headers={name.decode(): value.decode() for name, value in reply.fields},
    )
