"""One attempt to have one backend answer one request.

In: an accepted request, a pool, the client's side as an ``AnswerSink``. Out: the answer's bytes
to the sink, and exactly one ``AttemptResult``. Nothing reaches the client before the attempt
*commits* (``answers.py`` says when); until then a failed attempt may be repeated elsewhere,
which is the pipeline's decision.

Time: the pipeline calls ``sweep`` a few times a second; no timer is kept per request. How long
anybody was silent is told by the time in which the loop ran (``loop_time.py``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from alise_core.clock import Clock
from alise_core.errors import WireError
from alise_core.outcome import Outcome
from alise_gateway.domain.failure import FailureKind
from alise_gateway.domain.request import InferenceRequest
from alise_gateway.proxy.answers import Answer, AnswerSink, BodyAnswer, RelayedAnswer, StreamAnswer
from alise_gateway.proxy.chunked import WholeChunks
from alise_gateway.proxy.connection import UpstreamConnection
from alise_gateway.proxy.head import ResponseHead
from alise_gateway.proxy.pool import UpstreamPool
from alise_gateway.proxy.tier_echo import echo_of
from alise_gateway.proxy.usage import NO_USAGE, Usage
from alise_gateway.settings import TimeoutSettings


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """How an attempt ended.

    Attributes:
        outcome: The request's outcome if this attempt is its last.
        committed: The client has seen bytes of the answer.
        failure: What went wrong; ``None`` when the backend did its part.
        answer: The backend's own error, where it sent one and the client has not seen it.
    """

    outcome: Outcome
    committed: bool
    failure: FailureKind | None = None
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as it goes on the wire."""

    request: InferenceRequest
    head: bytes
    body: bytes


class AttemptOwner(Protocol):
    """The pipeline, as an attempt knows it."""

    def own_fields(self) -> bytes:
        """The gateway's response fields, each line with its CRLF."""
        ...

    def on_committed(self) -> None:
        """The first bytes of the answer are on their way; the request cannot be repeated."""
        ...

    def on_result(self, result: AttemptResult) -> None:
        """The attempt is over; called once."""
        ...


class Attempt:
    """One attempt; see the module.

    Attributes:
        first_byte: Monotonic mark of the first event, or of a JSON answer's end; ``None`` before.
        last_byte: Monotonic mark of the end of the answer.
    """

    __slots__ = (
        "_answer",
        "_client_blocked_since",
        "_clock",
        "_connection",
        "_dialled",
        "_fresh",
        "_last_activity",
        "_loop_time",
        "_over",
        "_owner",
        "_pool",
        "_prepared",
        "_seen_progress",
        "_sink",
        "_started",
        "_take_back",
        "_timeouts",
        "_whole_chunks",
        "first_byte",
        "last_byte",
    )

    def __init__(  # noqa: PLR0913  the composition of one request
        self,
        prepared: Prepared,
        *,
        pool: UpstreamPool,
        sink: AnswerSink,
        owner: AttemptOwner,
        clock: Clock,
        loop_time: Clock,
        timeouts: TimeoutSettings,
        whole_chunks: WholeChunks,
    ) -> None:
        self._prepared: Prepared | None = prepared
        self._pool = pool
        self._sink = sink
        self._owner = owner
        self._clock = clock
        self._loop_time = loop_time
        self._timeouts = timeouts
        self._whole_chunks = whole_chunks
        self._answer: RelayedAnswer | None = None
        self._connection: UpstreamConnection | None = None
        self._take_back: Callable[[], None] | None = None
        self._started: float = loop_time.now()
        self._dialled: float = self._started
        self._last_activity: float = self._started
        self._client_blocked_since: float | None = None
        self._seen_progress = 0
        self._fresh = False
        self._over = False
        self.first_byte: float | None = None
        self.last_byte: float | None = None

    @property
    def usage(self) -> Usage:
        """Token counts the answer stated so far."""
        return NO_USAGE if self._answer is None else self._answer.usage

    @property
    def sent_bytes(self) -> int:
        """Bytes of the body given to the client."""
        return 0 if self._answer is None else self._answer.sent_bytes

    @property
    def status(self) -> int | None:
        """Status of the backend's answer."""
        return None if self._answer is None else self._answer.head.status

    def start(self) -> None:
        """Ask for a connection and send the request on it."""
        self._dialled = self._loop_time.now()
        take_back = self._pool.acquire(self, fresh=self._fresh)
        if self._connection is None and not self._over:
            self._take_back = take_back

    def client_gone(self) -> bool:
        """Nobody reads on; True where the answer had been told, and its result is reported."""
        return not self._over and self._answer is not None and self._answer.client_gone()

    def cancel(self) -> None:
        """Nobody wants the answer: stop the backend at once; no result is reported."""
        self._over = True
        self._drop_connection()

    def let_go(self) -> None:
        """The request is over and recorded: drop what refers back here.

        Without this every request would leave a reference cycle to the garbage collector, whose
        runs are pauses for all streams.
        """
        self._answer = None

    def expire(self) -> None:
        """The gateway shuts down and cannot wait any longer; only after the commit."""
        if self._over or self._answer is None or self.first_byte is None:
            return
        self._answer.break_off(shutting_down=True)
        self._drop_connection()
        self._finish(AttemptResult(Outcome.REJECTED_SHUTTING_DOWN, committed=True))

    def client_blocked(self, *, blocked: bool) -> None:
        """The client does not read fast enough (or does again): pass it on to the backend."""
        self._client_blocked_since = self._loop_time.now() if blocked else None
        if self._connection is None or self._connection.closed:
            return
        if blocked:
            self._connection.transport.pause_reading()
        else:
            self._connection.transport.resume_reading()

    def client_stalled(self, now: float) -> bool:
        """The client has not read for longer than it may."""
        since = self._client_blocked_since
        return since is not None and now - since > self._timeouts.client_write_seconds

    def sweep(self, now: float) -> None:
        """End the attempt when it waits for longer than it may."""
        if self._over:
            return
        limits = self._timeouts
        # Reads that passed untouched are not counted, but they send bytes.
        answer = self._answer
        progress = 0 if answer is None else answer.reads + answer.sent_bytes
        if progress != self._seen_progress or self._client_blocked_since is not None:
            self._seen_progress = progress
            self._last_activity = now
        if self._connection is None:
            if now - self._dialled > limits.connect_seconds:
                self._fail(Outcome.FAILED_BACKEND_TIMEOUT, FailureKind.CONNECT)
        elif now - self._last_activity > self._patience() or (
            now - self._started > limits.total_seconds
        ):
            self._fail(Outcome.FAILED_BACKEND_TIMEOUT, FailureKind.TIMEOUT)

    def _patience(self) -> float:
        """Longest silence allowed in the present phase."""
        if self.first_byte is not None or self._seen_progress:
            return self._timeouts.idle_seconds
        if self._prepared is not None and self._prepared.request.stream:
            return self._timeouts.first_byte_seconds
        return self._timeouts.response_seconds

    # ConnectionWaiter

    def on_connected(self, connection: UpstreamConnection) -> None:
        """Send the request."""
        self._take_back = None
        if self._over or self._prepared is None:
            self._pool.release(connection, keep_alive=True)
            return
        self._connection = connection
        self._last_activity = self._loop_time.now()
        connection.send(self, self._prepared.head, self._prepared.body)

    def on_connect_failed(self, error: OSError) -> None:
        """The backend cannot be reached."""
        del error
        self._take_back = None
        if not self._over:
            self._fail(Outcome.FAILED_BACKEND_ERROR, FailureKind.CONNECT)

    # AnswerListener

    def on_head(self, head: ResponseHead) -> Callable[[bytes], None] | None:
        """Choose how the answer travels on."""
        prepared = self._prepared
        if prepared is None:
            return None
        answer: RelayedAnswer
        if head.is_event_stream and head.status < 300:  # noqa: PLR2004
            answer = StreamAnswer(head, self, self._sink, prepared.request, self._whole_chunks)
        else:
            answer = BodyAnswer(head, self, self._sink, echo_of(prepared.request))
        self._answer = answer
        answer.on_head()
        return answer.on_body

    def on_lost(self, error: Exception | None) -> None:
        """The connection ended under the request."""
        connection, self._connection = self._connection, None
        if self._over:
            return
        answer = self._answer
        if answer is not None:
            # A body may end with its connection, but not with one that broke.
            if error is not None or not answer.on_connection_end():
                self._broken(_kind_of_loss(error))
        elif connection is not None and self._was_stale(connection, error):
            self._fresh = True
            self.start()
        else:
            self._fail(Outcome.FAILED_BACKEND_ERROR, _kind_of_loss(error))

    def _was_stale(self, connection: UpstreamConnection, error: Exception | None) -> bool:
        """As a rule the backend had closed it while it was idle and saw no request.

        It shows as an end or, where our bytes met a closed socket, as a reset.
        """
        return (
            connection.reused
            and not connection.answering
            and not self._fresh
            and not isinstance(error, WireError)
        )

    def on_send_blocked(self, *, blocked: bool) -> None:
        """The request's own bytes wait in our buffer, which holds them all anyway."""

    # AnswerOwner

    def commit(self) -> bytes:
        """The answer starts to travel: mark it, forget the request's body."""
        self.first_byte = self._clock.now()
        self._prepared = None
        self._owner.on_committed()
        return self._owner.own_fields()

    def on_answered(self, *, reusable: bool) -> None:
        """The answer is complete and given to the client."""
        self._release(reusable=reusable)
        self._finish(AttemptResult(Outcome.COMPLETED, committed=True))

    def on_stream_error(self, *, reusable: bool) -> None:
        """The stream ended properly but said that it had failed; the client has seen that."""
        self._release(reusable=reusable)
        self._finish(
            AttemptResult(
                Outcome.FAILED_BACKEND_ERROR, committed=True, failure=FailureKind.ERROR_EVENT
            )
        )

    def on_refused(self, answer: Answer, *, reusable: bool) -> None:
        """The backend answered with an error that the client has not seen yet."""
        self._release(reusable=reusable)
        outcome, failure = _judge(answer.status)
        self._finish(AttemptResult(outcome, committed=False, failure=failure, answer=answer))

    def on_truncated(self) -> None:
        """The answer stopped before its end."""
        self._broken(FailureKind.LOST)

    # Endings

    def _fail(self, outcome: Outcome, failure: FailureKind) -> None:
        committed = self.first_byte is not None
        if committed and self._answer is not None:
            self._answer.break_off()
        self._drop_connection()
        self._finish(AttemptResult(outcome, committed=committed, failure=failure))

    def _broken(self, failure: FailureKind) -> None:
        if self.first_byte is None:
            self._fail(Outcome.FAILED_BACKEND_ERROR, failure)
            return
        if failure is FailureKind.LOST:
            failure = FailureKind.LOST_MIDSTREAM
        self._fail(Outcome.FAILED_BACKEND_LOST_MIDSTREAM, failure)

    def _finish(self, result: AttemptResult) -> None:
        if not self._over:
            self._over = True
            self.last_byte = self._clock.now()
            self._owner.on_result(result)

    def _release(self, *, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._client_blocked_since is not None and not connection.closed:
            connection.transport.resume_reading()
        self._pool.release(connection, keep_alive=reusable)

    def _drop_connection(self) -> None:
        if self._take_back is not None:
            self._take_back()
            self._take_back = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


def _judge(status: int) -> tuple[Outcome, FailureKind | None]:
    """What a backend's error status says about the request and about the backend."""
    if status in (429, 503, 529):
        return Outcome.REJECTED_SATURATED, FailureKind.OVERLOADED
    if status == 413:  # noqa: PLR2004
        return Outcome.REJECTED_TOO_LARGE, None
    # 401 and 403 mean that the gateway's own credential for the backend is wrong.
    if 400 <= status < 500 and status not in (401, 403, 407, 408):  # noqa: PLR2004
        return Outcome.REJECTED_INVALID, None
    return Outcome.FAILED_BACKEND_ERROR, FailureKind.STATUS


def _kind_of_loss(error: Exception | None) -> FailureKind:
    return FailureKind.PROTOCOL if isinstance(error, WireError) else FailureKind.LOST
