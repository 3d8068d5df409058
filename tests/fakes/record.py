"""A finished request to start from; tests name only what they are about."""

from dataclasses import replace
from typing import Any

from alise_core.outcome import Outcome
from alise_core.prediction import PredictionSource
from alise_core.record import PredictedLength, RequestRecord
from alise_core.service_class import ServiceClass
from alise_core.wire.openai import Endpoint

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"

_COMPLETED = RequestRecord(
    request_id="req-1",
    tenant="team-a",
    model="org/model",
    endpoint=Endpoint.CHAT_COMPLETIONS,
    outcome=Outcome.COMPLETED,
    status=200,
    stream=True,
    backend="10.0.0.1:8000",
    service_class=ServiceClass.DEFAULT,
    attempts=1,
    arrival=100.0,
    enqueued=100.25,
    dispatched=100.5,
    first_token=101.0,
    last_token=103.0,
    finished=103.5,
    prompt_tokens=512,
    output_tokens=5,
    cached_tokens=256,
    request_bytes=2_048,
    response_bytes=4_096,
    traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
    arrival_unix=1_750_000_000.5,
    predicted=PredictedLength(PredictionSource.TIER0, p10=2.0, p50=7.0, p90=40.25, mean=12.5),
)
"""Streamed, completed; every mark falls on a binary fraction, so that sums are exact."""


def a_record(**fields: Any) -> RequestRecord:
    """The completed request with some fields changed."""
    return replace(_COMPLETED, **fields)


def a_refusal(**fields: Any) -> RequestRecord:
    """A request that was refused before the queue."""
    refused = replace(
        _COMPLETED,
        outcome=Outcome.REJECTED_INVALID,
        status=400,
        backend=None,
        service_class=None,
        attempts=0,
        enqueued=None,
        dispatched=None,
        first_token=None,
        last_token=None,
        prompt_tokens=None,
        output_tokens=None,
        cached_tokens=None,
        predicted=None,
        finished=100.125,
    )
    return replace(refused, **fields)
