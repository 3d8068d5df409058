"""Drain and readiness of a vLLM API server, as ASGI middleware.

``vllm serve ... --middleware alise_vllm.control.middleware.Drain`` adds, in front of vLLM's own
routes:

``GET /alise/ready``
    200, or 503 with the reason; for readiness probes and for gateways, which are told whether the
    engine orders its own queue. A dead engine is a reason too. No token.
``POST /alise/drain``
    New requests get 503 with ``Retry-After``, those in progress finish. ``?wait_seconds=60``
    answers once nothing is in progress, or after that time. Needs the admin token where one is set.
``POST /alise/undrain``
    Takes new requests again. The same token.

vLLM's own ``/health`` stays 200 while it shuts down, and new requests then get a 500. Here SIGTERM
drains too: readiness turns 503 and new requests get the 503 that clients and gateways retry. What
is in progress finishes only if vLLM is given the time (``--shutdown-timeout``; 0 aborts it).

Every API server process has a state of its own. Where ``--api-server-count`` starts several, a
drain would reach only one of them, so it is refused; SIGTERM reaches all.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from alise_core.errors import ConfigError
from alise_vllm.control.draining import Closed, Draining, makes_work
from alise_vllm.control.replies import Reply, come_later, error, refusal
from alise_vllm.control.signals import before_terminating
from alise_vllm.settings import SCHEDULER_CLASS, TOKEN_REMEDY, read_admin_token

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_WAIT_SECONDS = 3_600.0
_READY, _DRAIN, _UNDRAIN = "/alise/ready", "/alise/drain", "/alise/undrain"
_TRY_AGAIN_LATER = 1_013
"""Close code of a websocket. Source: the IANA registry of RFC 6455."""
_LOG = logging.getLogger("vllm.alise")
"""vLLM shows what is said under its own name."""
_WHY = {
    Closed.DRAINING: "This server takes no new requests; please retry.",
    Closed.SHUTTING_DOWN: "This server is shutting down; please retry.",
}


class Drain:
    """See the module.

    Args:
        app: What is behind it.
        hook: Has a callback called on SIGTERM; says whether it will be.
    """

    def __init__(
        self, app: App, hook: Callable[[Callable[[], None]], bool] = before_terminating
    ) -> None:
        self._app = app
        self._hook = hook
        self._draining = Draining()
        self._token: str | None = None
        self._servers = 1
        self._orders = False
        self._engine_died: Callable[[], bool] = lambda: False
        self._drained = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One lifespan, request or websocket."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
        method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        routes: dict[tuple[str, str], Callable[[], Awaitable[Reply]]] = {
            ("GET", _READY): self._ready,
            ("POST", _DRAIN): partial(self._drain, scope),
            ("POST", _UNDRAIN): partial(self._undrain, scope),
        }
        route = routes.get((method, path))
        if route is not None:
            await _answer(send, await route())
        elif not makes_work(method, path):
            await self._app(scope, receive, send)
        elif self._draining.enter():
            try:
                await self._app(scope, receive, send)
            finally:
                if self._draining.leave():
                    self._drained.set()
        else:
            await self._refuse(scope, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The server starts: its settings are known, and vLLM waits for signals."""
        state = scope["app"].state
        try:
            self._token = read_admin_token(state.vllm_config.additional_config)
        except ConfigError as wrong:
            # An exception would be taken for an app without a lifespan, and the server would run.
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(wrong)})
            return
        if self._token is None:
            _LOG.warning("Whoever reaches this port may drain the server: %s", TOKEN_REMEDY)
        self._servers = state.args.api_server_count or 1
        self._orders = state.args.scheduler_cls == SCHEDULER_CLASS
        engine = state.engine_client
        if engine is not None:
            self._engine_died = lambda: bool(engine.errored)
        self._hook(self._draining.shut_down)
        await self._app(scope, receive, send)

    async def _ready(self) -> Reply:
        reason = "engine_dead" if self._engine_died() else self._draining.closed
        content: dict[str, object] = {
            "plugin": "alise",
            "ready": reason is None,
            "reason": reason,
            "in_progress": self._draining.in_progress,
            "orders": self._orders,
        }
        return Reply(200 if reason is None else 503, content)

    async def _drain(self, scope: Scope) -> Reply:
        denied = refusal(self._token, scope["headers"])
        if denied is not None:
            return denied
        if self._servers > 1:
            return error(
                409,
                f"There are {self._servers} API servers here and this reaches one of them; start "
                "vLLM with --api-server-count 1, or end it with SIGTERM, which drains all.",
                code="several_api_servers",
            )
        wait_seconds = _wait_seconds(scope)
        if wait_seconds is None:
            return error(
                400,
                f"'wait_seconds' has to be a number from 0 to {LONGEST_WAIT_SECONDS:g}.",
                code="invalid_wait_seconds",
                param="wait_seconds",
            )
        self._draining.drain()
        await self._wait(wait_seconds)
        return self._standing()

    async def _wait(self, seconds: float) -> None:
        self._drained.clear()
        if seconds and not self._draining.is_drained:
            try:
                async with asyncio.timeout(seconds):
                    await self._drained.wait()
            except TimeoutError:
                return

    async def _undrain(self, scope: Scope) -> Reply:
        denied = refusal(self._token, scope["headers"])
        if denied is not None:
            return denied
        if not self._draining.undrain():
            return error(409, _WHY[Closed.SHUTTING_DOWN], code="shutting_down")
        self._drained.set()
        return self._standing()

    def _standing(self) -> Reply:
        draining = self._draining
        content = {"draining": draining.closed is not None, "in_progress": draining.in_progress}
        return Reply(200, content)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        closed = self._draining.closed or Closed.DRAINING
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
        else:
            await _answer(send, come_later(_WHY[closed], closed))


def _wait_seconds(scope: Scope) -> float | None:
    """What the query asks for; None where that is no time to wait."""
    stated = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("wait_seconds", ["0"])
    try:
        seconds = float(stated[-1])
    except ValueError:
        return None
    return seconds if 0 <= seconds <= LONGEST_WAIT_SECONDS else None


async def _answer(send: Send, reply: Reply) -> None:
    await send(
        {"type": "http.response.start", "status": reply.status, "headers": reply.fields},
    )
    await send({"type": "http.response.body", "body": reply.body})
