"""What one request is expected to cost a backend: from tokens to seconds and memory. Pure.

The distribution of the length is reduced to eight weighted lengths once; every figure an ordering
needs is a sum over them.
"""

from dataclasses import dataclass

from alise_core.prediction import LengthDistribution
from alise_gateway.domain.cost_model import CostModel

_TAIL = 0.1
"""CVaR is the mean of the worst tenth (TIE: E + beta * CVaR_0.9)."""

Atoms = tuple[tuple[float, float], ...]
"""(weight, tokens), ascending in tokens; weights add up to 1."""


@dataclass(frozen=True, slots=True)
class Work:
    """Expected cost of one request.

    Attributes:
        output_tokens: Mean.
        median_tokens: Of the output.
        high_tokens: Of the output, not exceeded in nine of ten cases.
        service_seconds: Mean time on a backend as busy as the pool is.
        kv_token_seconds: Mean of KV tokens held, times how long.
        tail_kv_token_seconds: The same for the worst tenth of the lengths.
        prefill_seconds: Of the prompt.
        step_seconds: Per output token.
        atoms: The lengths behind it.
    """

    output_tokens: float = 0.0
    median_tokens: float = 0.0
    high_tokens: float = 0.0
    service_seconds: float = 0.0
    kv_token_seconds: float = 0.0
    tail_kv_token_seconds: float = 0.0
    prefill_seconds: float = 0.0
    step_seconds: float = 0.0
    atoms: Atoms = ((1.0, 0.0),)


NO_WORK = Work()


def expected_work(
    prompt_tokens: float, length: LengthDistribution | None, model: CostModel, batch: float
) -> Work:
    """Work of a request.

    Args:
        prompt_tokens: Estimate.
        length: Of its answer; ``None`` for one without output.
        model: Of a backend that may serve it.
        batch: Requests in flight on such a backend.
    """
    prefill, step = model.prefill_seconds(prompt_tokens), model.step_seconds(batch)
    atoms: Atoms = ((1.0, 0.0),) if length is None else length.atoms()
    mean = held_mean = 0.0
    held = []
    for weight, tokens in atoms:
        cost = step * tokens * (prompt_tokens + (tokens + 1) / 2) + prefill * prompt_tokens
        mean += weight * tokens
        held_mean += weight * cost
        held.append((weight, cost))
    return Work(
        output_tokens=mean,
        median_tokens=0.0 if length is None else length.quantile(0.5),
        high_tokens=0.0 if length is None else length.quantile(0.9),
        service_seconds=prefill + step * mean,
        kv_token_seconds=held_mean,
        tail_kv_token_seconds=_worst_mean(held),
        prefill_seconds=prefill,
        step_seconds=step,
        atoms=atoms,
    )


def _worst_mean(ascending: list[tuple[float, float]]) -> float:
    """Mean over the worst ``_TAIL`` of the weight."""
    left, total = _TAIL, 0.0
    for weight, value in reversed(ascending):
        taken = min(weight, left)
        total += taken * value
        left -= taken
        if left <= 0:
            break
    return total / (_TAIL - left)
