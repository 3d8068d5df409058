"""How much of a backend is taken, in one value for metrics and for people. Pure."""

from dataclasses import dataclass

from alise_gateway.domain.backend import Backend
from alise_gateway.domain.engine_figures import EngineFigures


@dataclass(frozen=True, slots=True)
class BackendLoad:
    """Of one backend, at one moment; ``None`` for what its engine does not say.

    Attributes:
        capacity_tokens: KV memory, in tokens.
        cache_dtype: Of the KV memory, as the engine names it.
        kv_used_ratio: Part of the KV memory that is in use, by the engine's own account.
        kv_predicted_peak_ratio: Part that what is in flight is expected to need at its worst
            moment, correction included.
        kv_correction_ratio: Real use as a multiple of the expected.
        admission_quantile_ratio: Quantile of the predicted length that memory is reserved for.
        in_flight_limit: Requests that it may be given at a time, as far as is known now.
        figures_stale: Its figures are missing or too old to go by.
        engine_running: Requests in the engine's batch.
        engine_waiting: Requests in the engine's own queue.
        step_seconds: Expected time per output token at the present number in flight.
    """

    capacity_tokens: int | None = None
    cache_dtype: str | None = None
    kv_used_ratio: float | None = None
    kv_predicted_peak_ratio: float | None = None
    kv_correction_ratio: float = 1.0
    admission_quantile_ratio: float = 0.5
    in_flight_limit: float = 0.0
    figures_stale: bool = True
    engine_running: int | None = None
    engine_waiting: int | None = None
    step_seconds: float = 0.0


def load_of(backend: Backend, now: float) -> BackendLoad:
    """The load of ``backend`` at ``now``, in monotonic seconds.

    What the engine said last is shown however old it is; ``figures_stale`` tells.
    """
    admission = backend.admission
    figures = admission.figures or EngineFigures(now)
    capacity = admission.capacity_tokens
    peak = admission.ledger.peak(now) * admission.correction
    return BackendLoad(
        capacity_tokens=capacity,
        cache_dtype=figures.cache_dtype,
        kv_used_ratio=figures.usage_ratio,
        kv_predicted_peak_ratio=peak / capacity if capacity else None,
        kv_correction_ratio=admission.correction,
        admission_quantile_ratio=admission.ledger.quantile,
        in_flight_limit=admission.limit(backend.max_in_flight, now),
        figures_stale=admission.is_blind(now),
        engine_running=figures.running,
        engine_waiting=figures.waiting,
        step_seconds=backend.cost.step_seconds(backend.batch),
    )
