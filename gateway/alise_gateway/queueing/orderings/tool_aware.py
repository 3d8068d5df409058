"""Memory times time over a whole tool call, for requests that carry tools.

A request that calls a tool holds, or has to rebuild, its context while the tool works: the cheaper
of keeping its KV through the expected pause and computing it again is added to its own
KV-token-seconds. One that brings a tool's result has its context cached and pays for what is new;
the sooner it runs, the likelier that cache is still there. Requests without tools rank as under
``cost`` without its surcharge.

Source: LAMPS, arXiv 2410.18248 (waste of preserving, discarding and swapping; ranks by the
memory-time integral before, during and after the call). At the edge only keeping and discarding can
be told apart.
"""

from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.orderings.base import Load, aged


class ToolAware:
    """By expected KV-token-seconds until the conversation is done with the tool.

    Args:
        aging_half_life_seconds: A wait this long halves the cost; ``None`` for no aging.
    """

    def __init__(self, aging_half_life_seconds: float | None = None) -> None:
        self._half_life = aging_half_life_seconds

    def rank(self, ticket: Ticket, load: Load) -> float:
        """Logarithm of the cost, aged."""
        del load
        return aged(_memory_time(ticket), ticket.enqueued, self._half_life)


def _memory_time(ticket: Ticket) -> float:
    work, tools = ticket.work, ticket.tools
    own = work.kv_token_seconds
    if tools is None:
        return own
    context = ticket.prompt_tokens + work.output_tokens
    if tools.continues:
        # Its prompt need not be computed where it is cached still.
        own = max(own - work.prefill_seconds * ticket.prompt_tokens, 0.0)
    keeping = tools.pause_seconds * context
    per_token = work.prefill_seconds / max(ticket.prompt_tokens, 1.0)
    computing_again = per_token * (context + tools.return_tokens) * context
    return own + min(keeping, computing_again)
