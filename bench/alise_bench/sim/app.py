"""The engine's HTTP surface: an ASGI application over one ``Engine``.

In: HTTP requests on ``SimProtocol``. Out: vLLM-shaped replies. A handler's task is cancelled
the moment its client leaves, which aborts its request in the engine. Routing is a table: an
inference request costs two dictionary look-ups before its handler.
"""

import asyncio
import hmac
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from prometheus_client import exposition

from alise_bench.sim.api.errors import ApiError
from alise_bench.sim.config import EngineConfig
from alise_bench.sim.control import Control
from alise_bench.sim.engine import Engine
from alise_bench.sim.exchange import ClientGone, Exchange
from alise_bench.sim.faults import FaultPlan
from alise_bench.sim.inference import Inference
from alise_bench.sim.text import seed_of
from alise_core.clock import Clock
from alise_core.wire import headers
from alise_core.wire.openai import PATHS, Endpoint

VERSION = "0.32.0"
"""The vLLM version that is imitated."""

Handler = Callable[[Exchange], Awaitable[None]]
_INFERENCE: dict[str, Endpoint] = {path.decode(): endpoint for path, endpoint in PATHS.items()}
_PROTECTED = ("/v1", "/v2", "/inference")


class EngineApp:
    """ASGI application of one engine.

    Attributes:
        serving: Inference requests being served now.
    """

    def __init__(
        self, config: EngineConfig, engine: Engine, faults: FaultPlan, clock: Clock
    ) -> None:
        self.control = Control(engine, faults)
        self.serving: set[Exchange] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self._config = config
        self._engine = engine
        self._created = int(clock.unix())
        self._inference = Inference(config, engine, faults, clock)
        self._routes = self._table()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI
        """Serve one HTTP request; other scopes are not used by this server."""
        exchange = Exchange(scope, receive, send)
        if self._config.request_id_headers:
            given = exchange.header(headers.REQUEST_ID) or uuid.uuid4().hex
            exchange.reply_headers.append((headers.REQUEST_ID, given.encode("latin-1")))
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("requests are served by tasks")
        gone = False

        def leave() -> None:
            nonlocal gone
            gone = True
            task.cancel()

        exchange.connection.on_lost = leave
        try:
            await self._dispatch(exchange)
        except ClientGone:
            pass
        except asyncio.CancelledError:
            if not gone:
                raise
        finally:
            exchange.connection.on_lost = None

    async def _dispatch(self, exchange: Exchange) -> None:
        if not self._authorized(exchange):
            await exchange.reply(401, {"error": "Unauthorized"})
            return
        endpoint = _INFERENCE.get(exchange.path)
        if endpoint is not None:
            await self._infer(exchange, endpoint)
            return
        methods = self._routes.get(exchange.path)
        if methods is None:
            await exchange.reply(404, {"detail": "Not Found"})
            return
        handler = methods.get(exchange.method)
        if handler is None:
            await _not_allowed(exchange, ", ".join(methods))
        else:
            await handler(exchange)

    async def _infer(self, exchange: Exchange, endpoint: Endpoint) -> None:
        if exchange.method != "POST":
            await _not_allowed(exchange, "POST")
        elif self.control.draining:
            error = {"message": "draining", "type": "ServiceUnavailableError", "code": 503}
            await exchange.reply(503, {"error": error}, [(headers.RETRY_AFTER, b"1")])
        elif self.control.shut_down:
            failure = ApiError(500, "cannot schedule new futures after shutdown")
            await exchange.reply(500, failure.body(endpoint))
        else:
            self.serving.add(exchange)
            self.idle.clear()
            try:
                await self._inference.serve(exchange, endpoint)
            finally:
                self.serving.discard(exchange)
                if not self.serving:
                    self.idle.set()

    def _authorized(self, exchange: Exchange) -> bool:
        key = self._config.api_key
        if key is None or not exchange.path.startswith(_PROTECTED):
            return True
        scheme, _, given = (exchange.header(b"authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), key.encode())

    def _table(self) -> dict[str, dict[str, Handler]]:
        control = self.control
        routes: dict[str, dict[str, Handler]] = {
            "/v1/models": {"GET": self._models},
            "/health": {"GET": _empty},
            "/ping": {"GET": _empty, "POST": _empty},
            "/version": {"GET": self._version},
            "/load": {"GET": self._load},
            "/metrics": {"GET": self._metrics},
            "/sim/faults": dict.fromkeys(("GET", "POST", "DELETE"), control.faults),
            "/sim/state": {"GET": control.state},
        }
        if self._config.drain_middleware:
            routes["/alise/drain"] = {"POST": control.drain}
            routes["/alise/undrain"] = {"POST": control.undrain}
            routes["/alise/ready"] = {"GET": control.ready}
        if self._config.scale_out:
            routes["/inference/v1/abort_requests"] = {"POST": self._abort_requests}
        return routes

    async def _models(self, exchange: Exchange) -> None:
        models: list[dict[str, Any]] = [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": "vllm",
                "root": self._config.model,
                "parent": None,
                "max_model_len": self._config.scheduler.max_model_len,
                "permission": [self._permission(name)],
            }
            for name in (self._config.model, *self._config.aliases)
        ]
        await exchange.reply(200, {"object": "list", "data": models})

    def _permission(self, name: str) -> dict[str, Any]:
        return {
            "id": f"modelperm-{seed_of(name):016x}",
            "object": "model_permission",
            "created": self._created,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }

    async def _version(self, exchange: Exchange) -> None:
        await exchange.reply(200, {"version": VERSION})

    async def _load(self, exchange: Exchange) -> None:
        load = len(self.serving) if self._config.load_tracking else 0
        await exchange.reply(200, {"server_load": load})

    async def _metrics(self, exchange: Exchange) -> None:
        encoder, content_type = exposition.choose_encoder(exchange.header(b"accept") or "")
        body = encoder(self._engine.metrics.registry)
        await exchange.reply_bytes(200, body, [(b"content-type", content_type.encode())])

    async def _abort_requests(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(await exchange.body())
        self._engine.abort_ids(body.get("request_ids", []))
        await exchange.reply_bytes(200, b"", [])


async def _empty(exchange: Exchange) -> None:
    await exchange.reply_bytes(200, b"", [])


async def _not_allowed(exchange: Exchange, allowed: str) -> None:
    await exchange.reply(405, {"detail": "Method Not Allowed"}, [(b"allow", allowed.encode())])
