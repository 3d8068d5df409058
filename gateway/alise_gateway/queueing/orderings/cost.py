"""Expected cost in KV memory and time, with a surcharge for what could become long.

``E[C] + beta * CVaR_0.9[C]``, C in KV-token-seconds; beta rises with the queue per batch place,
because a wrong guess then delays more requests.

Source: TIE for expectation plus CVaR and for beta; LAMPS, arXiv 2410.18248, for memory times time.
"""

from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.orderings.base import Load, aged

_BETA_PER_QUEUE = 0.1
_BETA_BOUNDS = (0.1, 0.5)


class Cost:
    """By expected KV-token-seconds.

    Args:
        beta: Weight of the tail; ``None`` adapts it to the load.
        aging_half_life_seconds: A wait this long halves the cost; ``None`` for no aging.
    """

    def __init__(
        self, beta: float | None = None, aging_half_life_seconds: float | None = None
    ) -> None:
        self._beta = beta
        self._half_life = aging_half_life_seconds

    def rank(self, ticket: Ticket, load: Load) -> float:
        """Logarithm of the cost, aged."""
        work = ticket.work
        beta = self._beta
        if beta is None:
            low, high = _BETA_BOUNDS
            beta = min(max(_BETA_PER_QUEUE * load.waiting / max(1, load.in_flight), low), high)
        size = work.kv_token_seconds + beta * work.tail_kv_token_seconds
        return aged(size, ticket.enqueued, self._half_life)
