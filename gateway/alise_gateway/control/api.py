"""The control endpoints.

``/healthz``, ``/readyz``, ``/metrics`` and ``/v1/models`` on both ports; the operator's
``/alise/`` only with ``admin``. Handlers are coroutines without awaits: each reads the view on
the event loop and returns, so no thread pool is started.
"""

import hmac
from importlib.metadata import version
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from alise_gateway.control import errors
from alise_gateway.control.errors import ControlError
from alise_gateway.control.schemas import (
    BackendList,
    BackendObject,
    ClusterObject,
    DrainReply,
    ErrorReply,
    Health,
    ModelList,
    ModelObject,
    PredictorObject,
    QueueObject,
    ReadinessReply,
)
from alise_gateway.control.view import ControlView, ModelCard
from alise_gateway.domain.request import ALLOWED_MODELS

_SERVER_ERROR: Final[dict[int | str, dict[str, Any]]] = {
    500: {"model": ErrorReply, "description": "A bug in the gateway."}
}
_UNAUTHORIZED: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": ErrorReply, "description": "No or wrong bearer token."}
}
_NO_MODEL: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": ErrorReply, "description": "No backend serves this model."},
    # Declared because a path parameter would otherwise promise the framework's own error shape.
    422: {"model": ErrorReply, "description": "The parameter does not fit the schema."},
}
_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": ReadinessReply, "description": "Not ready; the reasons say why."}
}
_EXPOSITION: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Prometheus text format, or OpenMetrics where the client accepts it.",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/openmetrics-text": {"schema": {"type": "string"}},
        },
    }
}


def create_control_app(
    view: ControlView, *, admin: bool, admin_token: str | None = None
) -> FastAPI:
    """Build the application.

    Args:
        view: The gateway.
        admin: Include ``/alise/``; for a listener that clients cannot reach.
        admin_token: Bearer token that ``/alise/`` demands; ``None`` leaves protection to the
            network. Never logged.

    Returns: A plain ASGI application without lifespan events.
    """
    app = FastAPI(
        title="ALISE gateway: control endpoints",
        version=version("alise"),
        docs_url=None,  # they load scripts from a foreign host
        redoc_url=None,
        redirect_slashes=False,
        responses=_SERVER_ERROR,
    )
    errors.install(app)
    _add_health(app, view)
    _add_models(app, view)
    if admin:
        _add_admin(app, view, admin_token)
    return app


def _add_health(app: FastAPI, view: ControlView) -> None:

    @app.get("/healthz", tags=["health"])
    async def healthz() -> Health:
        """The process lives."""
        return Health()

    @app.get("/readyz", tags=["health"], response_model=ReadinessReply, responses=_NOT_READY)
    async def readyz() -> Response:
        """At least one backend is usable and the gateway is not draining."""
        now = view.readiness()
        reply = ReadinessReply(
            status="ready" if now.ready else "not_ready", reasons=list(now.reasons)
        )
        return JSONResponse(reply.model_dump(), 200 if now.ready else 503)

    @app.get("/metrics", tags=["health"], response_class=Response, responses=_EXPOSITION)
    async def metrics(request: Request) -> Response:
        """One exposition of every metric."""
        body, content_type = view.render_metrics(request.headers.get("accept"))
        return Response(body, headers={"content-type": content_type})

    @app.head("/healthz", include_in_schema=False)
    async def healthz_head() -> Response:
        return Response()

    @app.head("/readyz", include_in_schema=False)
    async def readyz_head() -> Response:
        return Response(status_code=200 if view.readiness().ready else 503)


def _add_models(app: FastAPI, view: ControlView) -> None:

    @app.get("/v1/models", tags=["models"])
    async def list_models(request: Request) -> ModelList:
        """Every model that a request can name."""
        return ModelList(data=[ModelObject.of(card) for card in _visible(view, request)])

    @app.get("/v1/models/{model_id:path}", tags=["models"], responses=_NO_MODEL)
    async def get_model(model_id: str, request: Request) -> ModelObject:
        """One model; its name may contain slashes."""
        for card in _visible(view, request):
            if card.id == model_id:
                return ModelObject.of(card)
        raise ControlError(
            404,
            f"The model {model_id[:128]!r} does not exist; /v1/models lists those that do.",
            code="model_not_found",
            param="model",
        )


def _visible(view: ControlView, request: Request) -> list[ModelCard]:
    """The models that the caller may use; all of them on the admin port."""
    allowed = request.scope.get(ALLOWED_MODELS)
    cards = view.models()
    return cards if allowed is None else [card for card in cards if card.id in allowed]


def _add_admin(app: FastAPI, view: ControlView, token: str | None) -> None:
    guard = [] if token is None else [Depends(_bearer(token))]
    responses = {} if token is None else _UNAUTHORIZED

    @app.get("/alise/backends", tags=["admin"], dependencies=guard, responses=responses)
    async def backends() -> BackendList:
        """Every backend and how it is doing."""
        return BackendList(backends=[BackendObject.of(status) for status in view.backends()])

    @app.get("/alise/queue", tags=["admin"], dependencies=guard, responses=responses)
    async def queue() -> QueueObject:
        """The queue."""
        return QueueObject.of(view.queue())

    @app.get("/alise/predictor", tags=["admin"], dependencies=guard, responses=responses)
    async def predictor() -> PredictorObject:
        """The length predictor, and how right it is."""
        return PredictorObject.of(view.predictor())

    @app.get("/alise/cluster", tags=["admin"], dependencies=guard, responses=responses)
    async def cluster() -> ClusterObject:
        """The Kubernetes cluster that is followed: what was read, and what is wrong there."""
        return ClusterObject.of(view.cluster())

    @app.post(
        "/alise/drain", status_code=202, tags=["admin"], dependencies=guard, responses=responses
    )
    async def drain() -> DrainReply:
        """Stop admitting; requests in flight may finish. Repeating it changes nothing."""
        view.start_drain()
        now = view.queue()
        return DrainReply(in_flight=now.in_flight, waiting=now.waiting)


def _bearer(token: str) -> Any:  # noqa: ANN401  FastAPI reads the dependency's signature
    expected = token.encode()
    scheme = HTTPBearer(auto_error=False, description="The admin token.")

    async def check(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(scheme)],
    ) -> None:
        # compare_digest takes the same time whatever the first wrong byte is.
        if given is None or not hmac.compare_digest(given.credentials.encode(), expected):
            raise ControlError(
                401,
                "The admin endpoints need the header 'Authorization: Bearer TOKEN'.",
                code="invalid_admin_token",
                headers={"www-authenticate": "Bearer"},
            )

    return check
