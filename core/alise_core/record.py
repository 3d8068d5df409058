"""What is known of one finished request: the log line, the metrics and later the learning."""

from dataclasses import dataclass

from alise_core.outcome import Outcome
from alise_core.wire.openai import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One finished request.

    The five marks are monotonic seconds of the gateway's clock; ``None`` where the request never
    got that far. Prompts, keys and client addresses are not part of a record.
    """

    request_id: str
    tenant: str
    model: str
    endpoint: Endpoint | None
    outcome: Outcome
    status: int
    stream: bool
    backend: str | None
    attempts: int
    arrival: float
    enqueued: float | None
    dispatched: float | None
    first_token: float | None
    last_token: float | None
    finished: float
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    request_bytes: int
    response_bytes: int
    traceparent: str | None
    arrival_unix: float
