"""What became of each request of a run, whoever served it. Values."""

from dataclasses import dataclass

from alise_core.outcome import Outcome


@dataclass(slots=True)
class ServedRequest:
    """One request's marks, in seconds of the run's clock; ``None`` for what did not happen.

    Attributes:
        number: Its place in the trace.
        arrival: When it was sent.
        dispatched: When it left the gateway's queue; its arrival where there is no gateway.
        first_token: When its first token came.
        last_token: When its last token came.
        output_tokens: Tokens it got.
        preemptions: How often its engine took its memory away.
        outcome: How it ended.
        tenant: Who sent it.
        backend: Which pod served it.
    """

    number: int
    arrival: float
    dispatched: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    output_tokens: int = 0
    preemptions: int = 0
    outcome: Outcome = Outcome.COMPLETED
    tenant: str = ""
    backend: str = ""
