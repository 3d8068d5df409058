"""One inference request from its parsed bytes to its outcome.

Owns the request's marks, ticket, attempts and reply; ends exactly once, with one record. The
stages call it back: the queue when a backend is found or the request is dropped, the proxy when
an attempt is over, intake when the client goes or stalls.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alise_core.clock import Clock
from alise_core.errors import RequestError
from alise_core.outcome import SPECS, Outcome
from alise_core.prediction import LengthDistribution
from alise_core.record import RequestRecord
from alise_core.service_class import ServiceClass
from alise_core.wire import headers as names
from alise_core.wire.openai import Endpoint
from alise_gateway.classify.tiers import classify
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.request import HttpRequest, InferenceRequest, RawHeaders
from alise_gateway.drops import drop_error, shutting_down
from alise_gateway.identity.authenticator import Authenticator
from alise_gateway.intake.handler import Admission, ClientSide
from alise_gateway.intake.parse import parse_request
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.measure.recorder import RequestRecorder
from alise_gateway.measure.tracing import Trace, Tracing
from alise_gateway.proxy.attempt import Attempt, AttemptResult, Prepared
from alise_gateway.proxy.chunked import WholeChunks
from alise_gateway.proxy.head import forwarded_fields, request_head, request_prefix
from alise_gateway.proxy.pool import UpstreamPool
from alise_gateway.proxy.refusal import PassedError, final_error
from alise_gateway.proxy.retry import RetryBudget, is_repeatable
from alise_gateway.proxy.usage import NO_USAGE
from alise_gateway.queueing.controller import QueueController
from alise_gateway.queueing.events import ServedTokens, Ticket
from alise_gateway.request_ids import choose_ids
from alise_gateway.routing import route
from alise_gateway.settings import GatewaySettings
from alise_gateway.tickets import Answered, Filed, Routed, TicketOffice
from alise_gateway.verdicts import BackendVerdicts

if TYPE_CHECKING:  # they are loaded only into gateways that predict
    from alise_gateway.predict.predictor import PendingPrediction
    from alise_gateway.predicting import Predicting

_NOTHING = ServedTokens(0, 0)
"""An attempt that failed before its answer began is no tenant's debt."""


@dataclass(slots=True)
class ExchangeParts:
    """What every exchange works with; built once by the composition root."""

    settings: GatewaySettings
    clock: Clock
    loop_time: Clock
    authenticator: Authenticator
    registry: BackendRegistry
    queue: QueueController
    metrics: GatewayMetrics
    recorder: RequestRecorder
    tracing: Tracing
    retries: RetryBudget
    verdicts: BackendVerdicts
    pools: dict[Backend, UpstreamPool]
    tickets: TicketOffice
    predicting: "Predicting | None" = None
    """``None`` in a gateway that does not predict."""
    whole_chunks: WholeChunks = field(default_factory=WholeChunks)
    prefixes: dict[tuple[Backend, bytes], bytes] = field(default_factory=dict)

    def forget(self, backend: Backend) -> None:
        """Drop what is kept for a backend that is gone."""
        for key in [key for key in self.prefixes if key[0] is backend]:
            del self.prefixes[key]


class RequestExchange:
    """See the module; an ``Exchange``, a ``TicketListener`` and an ``AttemptOwner``."""

    __slots__ = (
        "_arrival",
        "_arrival_unix",
        "_attempt",
        "_attempts",
        "_backend",
        "_connection",
        "_dispatched",
        "_done",
        "_enqueued",
        "_fields",
        "_filed",
        "_head",
        "_ids",
        "_inference",
        "_last_result",
        "_on_done",
        "_parts",
        "_pending",
        "_request",
        "_request_bytes",
        "_tenant",
        "_ticket",
        "_trace",
    )

    def __init__(
        self,
        parts: ExchangeParts,
        connection: ClientSide,
        request: HttpRequest,
        admission: Admission,
        on_done: Callable[["RequestExchange"], None],
    ) -> None:
        self._parts = parts
        self._connection = connection
        self._request: HttpRequest | None = request
        self._request_bytes = len(request.body)
        self._head = admission.head
        self._tenant = admission.tenant
        self._on_done = on_done
        self._arrival = admission.arrival
        self._arrival_unix = float(parts.clock.unix())
        self._ids = choose_ids(request)
        self._trace: Trace = parts.tracing.begin(
            request.headers, request.endpoint, self._arrival_unix
        )
        self._inference: InferenceRequest | None = None
        self._fields: RawHeaders = []
        self._filed: Filed | None = None
        self._ticket: Ticket | None = None
        self._attempt: Attempt | None = None
        self._pending: PendingPrediction | None = None
        self._attempts = 0
        self._backend: Backend | None = None
        self._enqueued: float | None = None
        self._dispatched: float | None = None
        self._last_result: AttemptResult | None = None
        self._done = False

    def start(self) -> None:
        """Understand the request and queue it, or refuse it."""
        request = self._request
        if request is None or request.endpoint is None:
            return
        parts = self._parts
        try:
            inference = parse_request(request.endpoint, request.body, keep_content=True)
            self._inference = inference
            served = route(
                inference,
                self._tenant,
                parts.registry,
                request.headers,
                self._ids.shown,
                parts.metrics.fell_back,
            )
            classified = classify(
                self._tenant, inference, request.headers, parts.settings.scheduling.objectives
            )
        except RequestError as error:
            self._refuse(error)
            return
        inference.tier_echo = classified.tier_echo
        now = self._enqueued = parts.clock.now()
        routed = Routed(inference, served, self._tenant, classified)
        filed = self._filed = parts.tickets.file(routed, request.headers, self, now)
        self._set_fields(request)
        self._predict(inference, served, filed.ticket)
        parts.retries.note_request()
        self._ticket = filed.ticket
        parts.queue.submit(filed.ticket)
        if self._pending is not None and filed.ticket.waiting:
            self._pending.refine(self._on_refined)

    def _set_fields(self, request: HttpRequest) -> None:
        """What travels to the backend besides the body; lets go of the rest."""
        self._fields = forwarded_fields(request.headers, may_schedule=self._tenant.may_schedule)
        self._fields += self._trace.upstream_headers()
        self._fields.append((names.REQUEST_ID, self._ids.engine))
        # The connection knows the request until its answer ends; of its bytes nobody has need.
        request.headers.clear()
        request.body = b""
        self._request = None

    def _predict(self, inference: InferenceRequest, served: str, ticket: Ticket) -> None:
        """Say how long the answer will be; an embedding has no length."""
        predicting = self._parts.predicting
        if predicting is not None and inference.endpoint is not Endpoint.EMBEDDINGS:
            self._pending = predicting.begin(inference, served, self._tenant)
            ticket.prediction = self._pending.prediction.distribution
        inference.content = None  # it would hold the body

    def shut_down(self) -> None:
        """The drain time is over: end the request now."""
        attempt = self._attempt
        if self._done:
            return
        if attempt is not None and attempt.first_byte is not None:
            attempt.expire()
            return
        self._let_go_of_work()
        self._refuse(shutting_down())

    def fail(self) -> None:
        """A defect of the gateway keeps the request from going on."""
        self._let_go_of_work()
        self._refuse(
            RequestError(
                "The gateway failed to handle this request.",
                outcome=Outcome.FAILED_BACKEND_ERROR,
                status=500,
                code="internal_error",
            )
        )

    # TicketListener

    def on_dispatched(self, backend: Backend) -> None:
        """The queue found a backend."""
        inference, ticket = self._inference, self._ticket
        if inference is None or ticket is None or self._done:
            return
        parts = self._parts
        now = parts.clock.now()
        if self._dispatched is None:
            self._dispatched = now
        if self._pending is not None:
            self._pending.settle()
        parts.verdicts.dispatched(backend, ticket)
        last = self._last_result
        if last is not None and last.failure is not None and self._backend is not None:
            parts.metrics.retried(self._backend.name, last.failure)
        self._backend = backend
        self._attempts += 1
        fields, body = self._fields, inference.body
        if self._filed is not None:
            fields = fields + parts.tickets.sent(self._filed, backend, now)
            body = parts.tickets.told(self._filed, backend, predicts=self._pending is not None)
        head = request_head(self._prefix(backend), fields, len(body))
        self._attempt = Attempt(
            Prepared(inference, head, body),
            pool=parts.pools[backend],
            sink=self._connection,
            owner=self,
            clock=parts.clock,
            loop_time=parts.loop_time,
            timeouts=parts.settings.timeouts,
            whole_chunks=parts.whole_chunks,
        )
        self._attempt.start()

    def on_dropped(self, outcome: Outcome, reason: DropReason, retry_after_seconds: float) -> None:
        """The queue will not serve it."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._parts.metrics.dropped(ticket.service_class, reason)
        if self._last_result is not None:
            self._parts.retries.give_back()
        if self._last_result is not None and outcome is Outcome.REJECTED_NO_BACKENDS:
            # There was a backend; that it failed says more than that there is no other.
            self._give_up(self._last_result)
            return
        self._refuse(drop_error(outcome, reason, retry_after_seconds))

    # AttemptOwner

    def own_fields(self) -> bytes:
        """Response fields that say who answered and how long the request waited."""
        backend = b"" if self._backend is None else self._backend.name.encode()
        waited = (self._dispatched or 0.0) - (self._enqueued or 0.0)
        fields = b"x-request-id: %b\r\nx-alise-backend: %b\r\nx-alise-queue-ms: %d\r\n" % (
            self._ids.shown,
            backend,
            waited * 1000,
        )
        service_class = self._service_class()
        if service_class is not None:
            fields += b"%b: %b\r\n" % (names.SERVICE_CLASS, service_class.encode())
        if self._pending is not None:
            fields += b"x-alise-predicted-tokens: %d\r\n" % round(self._pending.prediction.median)
        return fields

    def on_committed(self) -> None:
        """Nothing can be repeated now: let go of the body."""
        if self._backend is not None and self._ticket is not None:
            self._parts.verdicts.answers(self._backend, self._ticket)
        if self._inference is not None:
            self._inference.body = b""
        self._fields = []

    def on_result(self, result: AttemptResult) -> None:
        """An attempt is over: done, repeat, or give up."""
        backend, ticket = self._backend, self._ticket
        if backend is None or ticket is None:
            return
        self._parts.verdicts.ended(backend, ticket, result.failure)
        if result.committed:
            if result.outcome is Outcome.COMPLETED:
                self._learn()
            self._leave_queue(self._served_tokens())
            self._finish(result.outcome, self._attempt.status if self._attempt else None)
            return
        self._last_result = result
        if self._may_repeat(result) and result.failure is not None:
            self._attempt = None
            self._parts.queue.give_back(ticket)
            return
        self._leave_queue(_NOTHING)
        self._give_up(result)

    # Exchange

    def client_gone(self) -> None:
        """Nobody waits for the answer: free whatever works on it."""
        attempt = self._attempt
        if self._done or (attempt is not None and attempt.client_gone()):
            return
        self._let_go_of_work()
        self._finish(Outcome.CLIENT_CANCELLED, None)

    def client_blocked(self, *, blocked: bool) -> None:
        """Pass the client's pace on to the backend."""
        if self._attempt is not None:
            self._attempt.client_blocked(blocked=blocked)

    def sweep(self, now: float) -> None:
        """Time has passed."""
        attempt = self._attempt
        if attempt is None:
            return
        if attempt.client_stalled(now):
            self._connection.abort()
            return
        attempt.sweep(now)

    # Inside

    def _service_class(self) -> ServiceClass | None:
        return None if self._filed is None else self._filed.routed.classified.service_class

    def _on_refined(self, prediction: LengthDistribution) -> None:
        """More is known of a request that waits."""
        if self._ticket is not None:
            self._parts.queue.repredict(self._ticket, prediction)

    def _prefix(self, backend: Backend) -> bytes:
        prefixes = self._parts.prefixes
        key = (backend, self._head.path)
        prefix = prefixes.get(key)
        if prefix is None:
            prefix = prefixes[key] = request_prefix(backend.address, self._head.path)
        return prefix

    def _let_go_of_work(self) -> None:
        """Leave the queue, or stop the backend's work, which says nothing about the backend."""
        if self._attempt is not None:
            self._attempt.cancel()
            if self._backend is not None and self._ticket is not None:
                self._parts.verdicts.abandoned(self._backend, self._ticket)
            self._leave_queue(self._served_tokens())
        elif self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            self._parts.queue.cancel(ticket)

    def _may_repeat(self, result: AttemptResult) -> bool:
        parts = self._parts
        return (
            is_repeatable(result.failure)
            and self._attempts <= parts.settings.upstream.max_retries
            and parts.retries.take(parts.clock.now())
        )

    def _leave_queue(self, served: ServedTokens | None) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._parts.queue.finish(ticket, served)

    def _served_tokens(self) -> ServedTokens | None:
        """What the engine counted; ``None`` where it did not say."""
        usage = NO_USAGE if self._attempt is None else self._attempt.usage
        if usage.prompt_tokens is None or usage.output_tokens is None:
            return None
        return ServedTokens(usage.prompt_tokens, usage.output_tokens)

    def _learn(self) -> None:
        """An answer is complete: what it says of its backend counts for the next ones."""
        attempt, filed, backend = self._attempt, self._filed, self._backend
        tokens = self._served_tokens()
        if attempt is None or filed is None or backend is None or tokens is None:
            return
        inference, last = self._inference, attempt.last_byte
        if inference is None or last is None:
            return
        answer = Answered(
            tokens.prompt_tokens,
            attempt.usage.cached_tokens or 0,
            tokens.output_tokens,
            attempt.first_byte if inference.stream else None,
            last,
        )
        self._parts.tickets.answered(filed, backend, answer, last)

    def _give_up(self, result: AttemptResult) -> None:
        error = final_error(result)
        if isinstance(error, PassedError):
            self._connection.pass_error(error.status, self._reply_fields(), error.body)
            self._finish(result.outcome, error.status)
            return
        self._refuse(error)

    def _refuse(self, error: RequestError) -> None:
        if self._done:
            return
        self._connection.refuse(error, self._reply_fields())
        self._finish(error.outcome, error.status)

    def _reply_fields(self) -> RawHeaders:
        fields: RawHeaders = [(names.REQUEST_ID, self._ids.shown)]
        if self._backend is not None:
            fields.append((names.BACKEND, self._backend.name.encode()))
        return fields

    def _finish(self, outcome: Outcome, status: int | None) -> None:
        if self._done:
            return
        self._done = True
        record = self._record(outcome, status)
        self._parts.recorder.finished(record, self._trace)
        if self._pending is not None and self._parts.predicting is not None:
            self._pending.settle()
            self._parts.predicting.finished(self._pending.prediction, record)
        if self._attempt is not None:
            self._attempt.let_go()
            self._attempt = None
        self._filed = None  # its ticket knows this exchange: they would keep each other alive
        self._on_done(self)

    def _record(self, outcome: Outcome, status: int | None) -> RequestRecord:
        attempt = self._attempt
        inference = self._inference
        usage = NO_USAGE if attempt is None else attempt.usage
        streams = inference is not None and inference.stream
        limit = None if inference is None else inference.max_tokens
        output_tokens = usage.output_tokens
        return RequestRecord(
            request_id=self._ids.shown.decode(),
            tenant=self._tenant.id,
            model="" if inference is None else inference.model,
            endpoint=self._head.endpoint,
            outcome=outcome,
            status=status or SPECS[outcome].status,
            stream=streams,
            backend=None if self._backend is None else self._backend.name,
            service_class=self._service_class(),
            attempts=self._attempts,
            arrival=self._arrival,
            enqueued=self._enqueued,
            dispatched=self._dispatched,
            first_token=attempt.first_byte if attempt is not None and streams else None,
            last_token=attempt.last_byte if attempt is not None else None,
            finished=self._parts.clock.now(),
            prompt_tokens=usage.prompt_tokens,
            output_tokens=output_tokens,
            cached_tokens=usage.cached_tokens,
            request_bytes=self._request_bytes,
            response_bytes=0 if attempt is None else attempt.sent_bytes,
            traceparent=self._trace.traceparent,
            arrival_unix=self._arrival_unix,
            predicted=None if self._pending is None else self._pending.prediction.recorded(),
            output_capped=(
                limit is not None and output_tokens is not None and output_tokens >= limit
            ),
        )
