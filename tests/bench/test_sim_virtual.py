from dataclasses import replace

import pytest

from alise_bench.sim.scheduler import Scheduler, SchedulerConfig
from alise_bench.sim.sequence import SequenceRequest
from alise_bench.sim.step_model import A100, CPU, PROFILES, Batch, scaled
from alise_bench.sim.virtual import VirtualEngine, run
from alise_core.units import Seconds

CONSTANT = replace(
    CPU,
    overhead_seconds=1.0,
    prefill_token_seconds=0.0,
    attention_pair_seconds=0.0,
    decode_sequence_seconds=0.0,
    kv_read_seconds=0.0,
)


def engine(**limits: int) -> VirtualEngine:
    config = replace(SchedulerConfig.for_profile(CONSTANT), **limits)  # type: ignore[arg-type]
    return VirtualEngine(Scheduler(config), CONSTANT)


def request(name: str, prompt: int, output: int) -> SequenceRequest:
    return SequenceRequest(name, tuple(range(prompt)), output)


def test_marks_are_exact_virtual_seconds() -> None:
    simulated = engine(max_num_seqs=1)
    done = run(simulated, [(0.0, request("a", 5, 3)), (0.5, request("b", 5, 2))])
    a, b = done
    assert (a.first_scheduled, a.first_token, a.last_token) == (0.0, 1.0, 3.0)
    # b waits until a's last step ends at 3.
    assert (b.arrival, b.first_scheduled, b.first_token, b.last_token) == (0.5, 3.0, 4.0, 5.0)
    assert simulated.busy_seconds == simulated.steps == 5


def test_time_jumps_over_idle_periods() -> None:
    simulated = engine()
    done = run(simulated, [(0.0, request("a", 5, 1)), (1e6, request("b", 5, 1))])
    assert done[1].first_token == 1e6 + 1
    assert simulated.steps == 2


def test_arrivals_during_a_step_join_the_next_one() -> None:
    done = run(engine(), [(0.0, request("a", 5, 4)), (1.5, request("b", 5, 1))])
    b = done[0]
    assert (b.first_scheduled, b.first_token) == (2.0, 3.0)


def test_an_overloaded_memory_still_finishes_everything() -> None:
    simulated = engine(num_blocks=4, block_size=16, max_model_len=48)
    items = [(0.1 * n, request(str(n), 20, 20)) for n in range(20)]
    assert {item.request.request_id for item in run(simulated, items)} == set(map(str, range(20)))
    simulated.scheduler.check()
    assert simulated.scheduler.pool.free == 3


def test_ending_a_step_that_was_not_begun_is_refused() -> None:
    with pytest.raises(RuntimeError):
        engine().end_step(Seconds(0.0))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_profiles_are_plausible(profile: object) -> None:
    assert profile in PROFILES.values()
    chosen = PROFILES[profile.name]  # type: ignore[attr-defined]
    decode_one = chosen.step_seconds(Batch(decode_sequences=1, decode_context=500))
    full = chosen.step_seconds(
        Batch(decode_sequences=chosen.max_num_seqs, decode_context=chosen.max_num_seqs * 500)
    )
    assert 0.001 < decode_one < 0.05
    assert decode_one < full < 0.2
    assert chosen.kv_tokens > chosen.max_model_len
    assert chosen.source


def test_the_published_figures_give_the_a100_profile() -> None:
    # 16.06 GB of weights at 80 % of 2,039 GB/s is 9.8 ms; 128 KiB of KV per token.
    assert A100.overhead_seconds == pytest.approx(0.0118, rel=0.02)
    assert A100.kv_read_seconds == pytest.approx(131072 / (2.039e12 * 0.8))
    assert 350_000 < A100.kv_tokens < 450_000


def test_the_cpu_profile_reproduces_its_calibration() -> None:
    for concurrency, tokens_per_second in ((1, 343), (16, 3531), (64, 6269)):
        step = CPU.step_seconds(Batch(decode_sequences=concurrency, decode_context=0))
        assert concurrency / step == pytest.approx(tokens_per_second, rel=0.05)


def test_speed_scales_every_term() -> None:
    batch = Batch(100, 5000.0, 7, 900)
    assert scaled(A100, 10).step_seconds(batch) == pytest.approx(A100.step_seconds(batch) / 10)
    with pytest.raises(ValueError, match="speed"):
        scaled(A100, 0)
