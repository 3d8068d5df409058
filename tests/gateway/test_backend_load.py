import pytest

from alise_core.units import BackendName
from alise_gateway.domain.backend import Backend, BackendAddress
from alise_gateway.domain.backend_load import load_of
from alise_gateway.domain.breaker import BreakerLimits, CircuitBreaker
from alise_gateway.domain.engine_figures import EngineFigures


def a_backend() -> Backend:
    address = BackendAddress(BackendName("a"), "127.0.0.1", 8000)
    return Backend(address, 64, CircuitBreaker(BreakerLimits(5, 5, 60)))


def test_of_an_engine_that_has_said_nothing_only_what_was_set_is_known() -> None:
    load = load_of(a_backend(), 0.0)
    assert load.figures_stale
    assert load.in_flight_limit == 64
    assert load.step_seconds > 0
    unknown = (load.capacity_tokens, load.cache_dtype, load.kv_used_ratio, load.engine_running)
    assert (*unknown, load.engine_waiting, load.kv_predicted_peak_ratio) == (None,) * 6


def test_the_peak_is_corrected_and_part_of_the_capacity() -> None:
    backend = a_backend()
    figures = EngineFigures(1.0, 10_000, "fp8", 0.3, running=4, waiting=2)
    backend.admission.observe(figures, 1.0, backend.max_in_flight)
    backend.admission.ledger.add(1, 1_000.0, None, 1.0)
    backend.admission.correction = 0.5
    load = load_of(backend, 1.0)
    assert load.kv_predicted_peak_ratio == pytest.approx(0.05)
    assert (load.capacity_tokens, load.cache_dtype, load.kv_used_ratio) == (10_000, "fp8", 0.3)
    assert (load.engine_running, load.engine_waiting) == (4, 2)
    assert not load.figures_stale
    assert load_of(backend, 1_000.0).figures_stale


def test_the_step_is_that_of_the_present_number_in_flight() -> None:
    backend = a_backend()
    alone = load_of(backend, 0.0).step_seconds
    backend.in_flight = 50
    assert load_of(backend, 0.0).step_seconds > alone
