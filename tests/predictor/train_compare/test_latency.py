"""Which graphs are timed, with what in front of them."""

from pathlib import Path

import pytest

from alise_predictor.artifact import TIER0, TIER1, TOKENIZER
from alise_predictor.serving.pieces import PieceReader
from alise_predictor.train.compare.latency import (
    BATCH,
    PROMPT_TOKENS,
    bundle_latency,
    graph_latency,
)
from fakes.predictor_bundle import BundleOptions, tiny_bundle


@pytest.fixture
def both(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle", BundleOptions(tier1=True)).directory


def test_a_graph_of_buckets_is_timed_one_request_at_a_time(both: Path) -> None:
    found = graph_latency({"hashed": both / TIER0}, None, 5)
    assert [(row.prompt_tokens, row.batch) for row in found] == [(n, 1) for n in PROMPT_TOKENS]
    assert all(row.calls == 5 and row.wall_us > 0 for row in found)
    read = [row.pieces for row in found]
    assert read == sorted(read)


def test_a_graph_of_pieces_is_left_out_without_a_tokenizer(both: Path) -> None:
    assert graph_latency({"encoder": both / TIER1}, None, 5) == []


def test_a_graph_of_pieces_is_timed_in_the_batches_it_takes(both: Path) -> None:
    reader = PieceReader((both / TOKENIZER).read_bytes(), 64, 32)
    found = graph_latency({"encoder": both / TIER1}, reader, 5)
    assert {row.batch for row in found} <= {1, BATCH}
    assert [row.prompt_tokens for row in found if row.batch == 1] == list(PROMPT_TOKENS)
    assert max(row.pieces for row in found) == 64 + 32 + 2


def test_a_bundle_is_timed_as_it_is_served(both: Path) -> None:
    found = bundle_latency(both, 20)
    assert [(row.graph, row.prompt_tokens) for row in found] == [
        (tier, tokens) for tier in ("tier 0", "tier 1") for tokens in PROMPT_TOKENS
    ]
    longest = max(row.pieces for row in found if row.graph == "tier 1")
    reader = PieceReader((both / TOKENIZER).read_bytes(), 1, 1)
    assert longest > len(reader.ids(b""))
    assert {row.batch for row in found} == {1} != {BATCH}


def test_a_bundle_without_tier1_has_no_rows_of_it(tmp_path: Path) -> None:
    directory = tiny_bundle(tmp_path / "small").directory
    assert {row.graph for row in bundle_latency(directory, 5)} == {"tier 0"}
