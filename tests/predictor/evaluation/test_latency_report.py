"""What a bundle costs here: which rows there are, and what is said where nothing is known."""

from pathlib import Path

import pytest

from alise_core.prediction import PredictionSource
from alise_predictor.artifact import TOKENIZER
from alise_predictor.evaluation.latency_report import Cost, as_json, measure, render
from alise_predictor.evaluation.memory import resident_bytes
from alise_predictor.serving import LatencyRow
from alise_predictor.serving.latency import sample_prompt
from alise_predictor.serving.pieces import PieceReader
from fakes.clock import FakeClock
from fakes.predictor_bundle import BundleOptions, tiny_bundle

ROW = LatencyRow(
    source=PredictionSource.TIER0,
    prompt_bytes=1_024,
    calls=10,
    p50_seconds=45e-6,
    p99_seconds=1.2e-3,
    calls_per_second=12_345.6,
)


@pytest.mark.slow
def test_tier_1_is_timed_at_its_numbers_of_pieces(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", BundleOptions(tier1=True))

    found = measure(bundle, 1, FakeClock(), resident_bytes())

    reader = PieceReader(bundle.read(TOKENIZER), 1_000, 0)
    texts = [sample_prompt(row.prompt_bytes, 0).encode() for row in found.tier1]
    assert [len(reader.ids(text)) - 2 for text in texts] == [32, 128]
    assert [row.prompt_bytes for row in found.tier0] == [5, 1_024, 65_536]
    assert found.tier0_bytes is not None


@pytest.mark.slow
def test_a_bundle_without_tier_1_has_no_rows_of_it(tmp_path: Path) -> None:
    found = measure(tiny_bundle(tmp_path / "b"), 1, FakeClock(), None)

    assert found.tier1 == ()
    assert (found.tier0_bytes, found.tier1_bytes) == (None, None)
    assert "tier 1" not in render(found)


def test_times_are_microseconds_and_memory_is_megabytes() -> None:
    text = render(Cost((ROW,), (), tier0_bytes=51_200_000, tier1_bytes=None))

    assert text.splitlines()[1].split() == ["tier", "0", "1,024", "B", "45", "1,200", "12,346"]
    assert text.endswith("tier 0: 51.2 MB")


def test_unknown_memory_is_said_to_be_unknown() -> None:
    cost = Cost((ROW,), (ROW,), tier0_bytes=None, tier1_bytes=None)

    assert render(cost).count("unknown") == 2
    assert as_json(cost)["memory_added_bytes"] == {"tier0": None, "tier1": None}
