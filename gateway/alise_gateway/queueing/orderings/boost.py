"""First come, first served with a head start for what is short.

A request is ordered as if it had come earlier, by ``ln(E / (E - 1)) / gamma`` with
``E = E[exp(gamma * S)]`` over its predicted service S: a lot for a short one, next to nothing for a
long one. The order is fixed at arrival and every request is first in the end, so nobody starves
and nothing has to age. A large gamma is first come, first served; a small one shortest job first.
Adapted to the load, gamma is inverse to the predicted wait: head starts are then worth as much of a
long queue as of a short one.

Source: gamma-Boost, arXiv 2404.08826, section 3 (known sizes: ``ln(1 / (1 - exp(-gamma * s)))``)
and its form for sizes known in part. Adapting gamma to the wait is ours.
"""

from math import exp, expm1, log1p

from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.orderings.base import Load

_SERVICES = 10.0
_MOST_EXPONENT = 30.0
"""Beyond it the head start is below a millionth of a second."""
_LEAST_SECONDS = 1e-6


class Boost:
    """By arrival less a head start.

    Args:
        gamma: Per second; ``None`` adapts it to the load.
        gamma_share: Adapted: gamma times the predicted wait.
    """

    def __init__(self, gamma: float | None = None, gamma_share: float = 1.0) -> None:
        self._gamma = gamma
        self._share = gamma_share

    def rank(self, ticket: Ticket, load: Load) -> float:
        """When it would have had to come to go now under first come, first served."""
        gamma = self._gamma
        if gamma is None:
            usual = _SERVICES * load.service_seconds + load.wait_seconds
            gamma = self._share / max(usual, _LEAST_SECONDS)
        return ticket.enqueued - head_start_seconds(ticket, gamma)


def head_start_seconds(ticket: Ticket, gamma: float) -> float:
    """How much earlier a request is taken to have come; positive, less for longer ones."""
    work = ticket.work
    excess = 0.0
    for weight, tokens in work.atoms:
        seconds = max(work.prefill_seconds + tokens * work.step_seconds, _LEAST_SECONDS)
        excess += weight * expm1(min(gamma * seconds, _MOST_EXPONENT))
    # ln(E / (E - 1)) with E = 1 + excess
    return log1p(1.0 / max(excess, exp(-_MOST_EXPONENT))) / gamma
