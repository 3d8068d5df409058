"""How long each waiting request will wait: what stands before it, by as many as run. Pure."""

from collections.abc import Iterable, Mapping

from alise_vllm.ordering.pace import Pace
from alise_vllm.ordering.work import Work


def expected_waits(in_order: Iterable[Work], pace: Pace, slots: int) -> Mapping[int, float]:
    """Seconds until each request runs, by its number.

    What runs already is left out: it is the same for everybody, and only the order of waits counts
    where something has to make room.

    Args:
        in_order: Who waits, the next one first.
        pace: How fast the engine is.
        slots: Requests that run at a time.
    """
    waits = {}
    ahead = 0.0
    for work in in_order:
        waits[work.number] = ahead / max(1, slots)
        ahead += work.remaining_tokens() * pace.step_seconds
        ahead += work.context_tokens * pace.prompt_seconds
    return waits
