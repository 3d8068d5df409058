"""What is known of one finished request: the log line, the metrics and the learning."""

from dataclasses import dataclass

from alise_core.outcome import Outcome
from alise_core.prediction import PredictionSource
from alise_core.service_class import ServiceClass
from alise_core.wire.openai import Endpoint


@dataclass(frozen=True, slots=True)
class PredictedLength:
    """A predicted number of output tokens, as it is recorded.

    Attributes:
        source: What predicted it.
        p10: Tokens not exceeded with probability 0.1.
        p50: The median.
        p90: Tokens not exceeded with probability 0.9.
        mean: Expected tokens.
    """

    source: PredictionSource
    p10: float
    p50: float
    p90: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One finished request.

    The five marks are monotonic seconds of the gateway's clock; ``None`` where the request never
    got that far. Prompts, keys and client addresses are not part of a record.

    Attributes:
        service_class: The band it waited in; ``None`` where it was refused before it had one.
        predicted: What was predicted of its length; ``None`` where nothing was.
        output_capped: The answer ended at the limit that the client set, so that its length is
            a lower bound of what it would have been.
    """

    request_id: str
    tenant: str
    model: str
    endpoint: Endpoint | None
    outcome: Outcome
    status: int
    stream: bool
    backend: str | None
    service_class: ServiceClass | None
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
    predicted: PredictedLength | None = None
    output_capped: bool = False
