import json
from dataclasses import replace

import httpx
import pytest

from alise_bench.sim.calibrate import (
    COEFFICIENTS,
    Calibration,
    Observation,
    Probe,
    _as_json,
    _as_text,
    calibrate,
    design,
    fit,
)
from alise_bench.sim.cli import _config, _parser
from alise_bench.sim.step_model import A100, CPU, PROFILES, Batch, Profile
from alise_core.clock import MonotonicClock
from alise_core.errors import ConfigError
from fakes.engine import fast_engine, running_engine

BATCHES = [
    Batch(prefill_tokens=n, prefill_context=n * (n + 1) / 2) for n in (16, 128, 512, 2048)
] + [
    Batch(decode_sequences=n, decode_context=n * context)
    for n in (1, 4, 16, 64)
    for context in (64, 1024)
]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_exact_observations_give_the_profile_back(profile: Profile) -> None:
    observed = [Observation(Probe(1, 1, 1), item, profile.step_seconds(item)) for item in BATCHES]
    result = fit(observed, CPU)
    for name in COEFFICIENTS:
        assert getattr(result.profile, name) == pytest.approx(getattr(profile, name), rel=1e-6)
    assert result.worst_error < 1e-9


def test_no_coefficient_is_fitted_below_zero() -> None:
    shrinking = replace(A100, kv_read_seconds=-1e-8)
    observed = [Observation(Probe(1, 1, 1), item, shrinking.step_seconds(item)) for item in BATCHES]
    result = fit(observed, CPU)
    assert result.profile.kv_read_seconds == 0
    assert min(getattr(result.profile, name) for name in COEFFICIENTS) >= 0
    assert result.worst_error > 0


def test_nothing_observed_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        fit([], CPU)


def test_the_design_varies_prompt_concurrency_and_context_within_the_model() -> None:
    probes = design(4096, repeats=2)
    assert len(probes) == 2 * len(set(probes))
    assert len({probe.prompt_words for probe in probes}) > 4
    assert len({probe.concurrency for probe in probes}) > 3
    small = design(300, 1)
    assert small
    assert all(2 * probe.prompt_words + probe.output_tokens <= 300 for probe in small)


async def test_a_probe_measures_steps_of_what_it_describes() -> None:
    async with (
        running_engine(fast_engine(0.01)) as engine,
        httpx.AsyncClient(base_url=engine.url) as client,
    ):
        calibration = Calibration(client, engine.model, MonotonicClock())
        observed = await calibration.observe(Probe(2, 50, 4))
        assert observed is not None
        assert observed.batch == Batch(decode_sequences=2, decode_context=2 * 52)
        assert observed.seconds > 0.005
        first = await calibration.observe(Probe(1, 50, 1))
        assert first is not None
        assert first.batch.prefill_tokens == 50


async def test_a_server_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="cannot measure"):
        await calibrate("http://127.0.0.1:1", None, 1)


@pytest.mark.slow
async def test_a_server_is_described_and_every_shape_observed() -> None:
    # How long steps really took is the machine's affair; the fit's figures are tested above.
    async with running_engine(fast_engine(0.004, num_blocks=700)) as engine:
        result = await calibrate(engine.url, None, 1)
    assert result.profile.num_blocks == 700
    assert result.profile.max_model_len == 4096
    # Streams of a probe that never overlapped on a busy machine are left out.
    observed = {item.probe for item in result.observations}
    assert observed <= set(design(4096, 1))
    assert {probe for probe in design(4096, 1) if probe.concurrency == 1} <= observed
    assert min(getattr(result.profile, name) for name in COEFFICIENTS) >= 0
    assert "streams" in _as_text(result)


def test_a_calibrated_profile_is_a_profile_file(tmp_path: object) -> None:
    observed = [Observation(Probe(1, 1, 1), item, A100.step_seconds(item)) for item in BATCHES]
    path = f"{tmp_path}/profile.json"
    with open(path, "w") as file:
        file.write(_as_json(fit(observed, CPU)))
    config = _config(_parser().parse_args(["--profile-file", path]))
    assert config.profile.overhead_seconds == pytest.approx(A100.overhead_seconds)
    with open(path, "w") as file:
        json.dump({"profile": {}}, file)
    with pytest.raises(ConfigError, match="profile-file"):
        _config(_parser().parse_args(["--profile-file", path]))
