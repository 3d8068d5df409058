"""A request's way through the gateway, in order.

::

    intake -> identity -> parse -> predict -> queueing (placement) -> proxy -> measure -> learn

``Pipeline`` lets requests in and knows those in progress; ``exchange.RequestExchange`` then owns
one request until it has exactly one outcome. Everything runs on the event loop, in callbacks: an
unsaturated request passes from the client's socket to the backend's in one step, without a task
or a timer of its own.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from alise_core.errors import InvalidRequest, Rejected, RequestError
from alise_core.outcome import Outcome
from alise_core.record import RequestRecord
from alise_gateway.domain.request import ANONYMOUS, HttpRequest
from alise_gateway.exchange import ExchangeParts, RequestExchange
from alise_gateway.intake.asgi import AsgiApp, AsgiExchange
from alise_gateway.intake.handler import Admission, ClientSide, Exchange
from alise_gateway.intake.head import Head

_OPEN_PATHS = frozenset({b"/healthz", b"/readyz", b"/metrics"})
_MODELS = b"/v1/models"
_PREDICT = b"/v1/predict"
_LOG = structlog.get_logger(__name__)

if TYPE_CHECKING:  # it is loaded only into gateways that predict
    from alise_gateway.predict_endpoint import PredictEndpoint


class Pipeline:
    """Lets requests in; a ``RequestHandler`` of intake.

    Args:
        parts: What every request needs.
        control: The control endpoints that the inference port serves too.
        predictions: Answers ``/v1/predict``; ``None`` where nothing is predicted.
    """

    def __init__(
        self, parts: ExchangeParts, control: AsgiApp, predictions: "PredictEndpoint | None" = None
    ) -> None:
        self._parts = parts
        self._control = control
        self._predictions = predictions
        self._active: set[RequestExchange] = set()
        self._on_idle: Callable[[], None] | None = None
        self._leaving = False
        self._draining = False

    @property
    def is_leaving(self) -> bool:
        """The process is about to end; what comes is still admitted until the drain begins."""
        return self._leaving

    @property
    def is_draining(self) -> bool:
        """Nothing new is admitted."""
        return self._draining

    @property
    def active(self) -> int:
        """Requests in progress."""
        return len(self._active)

    def leave(self) -> None:
        """Say so to clients: their connections close after the next answer."""
        self._leaving = True

    def drain(self, on_idle: Callable[[], None]) -> None:
        """Admit nothing more; ``on_idle`` is called once nothing is in progress."""
        self._leaving = self._draining = True
        self._on_idle = on_idle
        if not self._active:
            on_idle()

    def abort(self) -> None:
        """The drain time is over: end every request that is still in progress."""
        self._parts.queue.shut_down()
        for exchange in tuple(self._active):
            exchange.shut_down()

    # RequestHandler

    def on_head(self, head: Head) -> Admission:
        """Refuse by the head alone where that is possible, before the body is sent.

        Raises:
            RequestError: Unknown path, wrong method, no credential, or shutting down.
        """
        parts = self._parts
        now = parts.clock.now()
        if head.endpoint is None:
            if head.path in _OPEN_PATHS:
                return Admission(head, ANONYMOUS, now)
            self._check_control(head)
            return Admission(head, parts.authenticator.authenticate(head.headers), now)
        if head.method != b"POST":
            raise _post_only()
        if self._draining:
            raise Rejected(
                "The gateway is shutting down; please retry.",
                outcome=Outcome.REJECTED_SHUTTING_DOWN,
                retry_after_seconds=1,
            )
        return Admission(head, parts.authenticator.authenticate(head.headers), now)

    def on_request(
        self, connection: ClientSide, request: HttpRequest, admission: Admission
    ) -> Exchange | None:
        """Start a whole request."""
        if admission.head.endpoint is None:
            if self._predictions is not None and request.path == _PREDICT:
                self._predictions.answer(connection, request, admission.tenant)
                return None
            return AsgiExchange(self._control, connection, request, admission.tenant)
        exchange = RequestExchange(self._parts, connection, request, admission, self._forget)
        self._active.add(exchange)
        if self._draining:
            # Its head came before the drain began, its body only now: nothing works on it yet.
            exchange.shut_down()
            return exchange
        try:
            exchange.start()
        except Exception:
            # Boundary: the caller is the HTTP parser, which would call it malformed HTTP.
            _LOG.exception("request_failed", path=request.path.decode("latin-1"))
            exchange.fail()
        return exchange

    def on_refused(self, error: RequestError, admission: Admission | None) -> None:
        """Count a request that was refused before it was whole."""
        parts = self._parts
        now = parts.clock.now()
        arrival = now if admission is None else admission.arrival
        head = None if admission is None else admission.head
        trace = parts.tracing.begin([], None, parts.clock.unix())
        parts.recorder.finished(
            RequestRecord(
                request_id="",
                tenant="" if admission is None else admission.tenant.id,
                model="",
                endpoint=None if head is None else head.endpoint,
                outcome=error.outcome,
                status=error.status,
                stream=False,
                backend=None,
                service_class=None,
                attempts=0,
                arrival=arrival,
                enqueued=None,
                dispatched=None,
                first_token=None,
                last_token=None,
                finished=now,
                prompt_tokens=None,
                output_tokens=None,
                cached_tokens=None,
                request_bytes=0,
                response_bytes=0,
                traceparent=None,
                arrival_unix=parts.clock.unix(),
            ),
            trace,
        )

    def _check_control(self, head: Head) -> None:
        """Refuse what no control endpoint serves."""
        if head.path == _PREDICT and self._predictions is not None:
            if head.method != b"POST":
                raise _post_only()
            return
        if head.path != _MODELS and not head.path.startswith(_MODELS + b"/"):
            raise InvalidRequest(
                "There is nothing at this path; see the OpenAI API for the paths under /v1/.",
                status=404,
                code="unknown_url",
            )

    def _forget(self, exchange: RequestExchange) -> None:
        self._active.discard(exchange)
        if self._draining and not self._active and self._on_idle is not None:
            self._on_idle()


def _post_only() -> InvalidRequest:
    return InvalidRequest("This endpoint takes POST only.", status=405, code="method_not_allowed")
