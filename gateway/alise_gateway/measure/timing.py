"""Marks to intervals: pure.

In comes a ``RequestRecord`` with its marks, all read from one monotonic clock; out come durations
in seconds, ``None`` where a mark that an interval needs is missing. The definitions are the
glossary's (docs/glossary.md).
"""

from dataclasses import dataclass

from alise_core.record import RequestRecord


@dataclass(frozen=True, slots=True)
class Intervals:
    """Durations of one request.

    Attributes:
        e2e_s: finished - arrival; every request has it.
        intake_s: enqueued - arrival: reading, authenticating and parsing the request.
        queue_s: dispatched - enqueued: the wait in the gateway's queue.
        ttft_s: first_token - arrival; streamed answers only, because the first token of an
            answer that comes in one piece cannot be seen.
        backend_ttft_s: first_token - dispatched: the backend's share of ``ttft_s``; streamed
            answers only.
        ttlt_s: last_token - arrival.
        tpot_s: (last_token - first_token) / (output_tokens - 1); streamed answers of at least
            two tokens.
        tail_s: finished - last_token: handing the rest of the answer to the client.
    """

    e2e_s: float
    intake_s: float | None
    queue_s: float | None
    ttft_s: float | None
    backend_ttft_s: float | None
    ttlt_s: float | None
    tpot_s: float | None
    tail_s: float | None


def intervals_of(record: RequestRecord) -> Intervals:
    """The intervals of one finished request.

    Returns: Non-negative durations wherever the marks are in order; nothing is clamped, so a
        clock that misbehaves stays visible.
    """
    arrival, last_token = record.arrival, record.last_token
    first_token = record.first_token if record.stream else None
    return Intervals(
        e2e_s=record.finished - arrival,
        intake_s=_between(arrival, record.enqueued),
        queue_s=_between(record.enqueued, record.dispatched),
        ttft_s=_between(arrival, first_token),
        backend_ttft_s=_between(record.dispatched, first_token),
        ttlt_s=_between(arrival, last_token),
        tpot_s=_time_per_output_token(first_token, last_token, record.output_tokens),
        tail_s=_between(last_token, record.finished),
    )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _time_per_output_token(
    first: float | None, last: float | None, tokens: int | None
) -> float | None:
    if first is None or last is None or tokens is None or tokens < 2:  # noqa: PLR2004  a gap needs two
        return None
    return (last - first) / (tokens - 1)
