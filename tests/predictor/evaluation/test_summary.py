"""What a replay comes to: the promised keys, the rule for order, the blocks."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_core.prediction import LEVELS
from alise_predictor.evaluation.replay import Replayed
from alise_predictor.evaluation.summary import blocks, details, document
from alise_predictor.evaluation.text import evaluation, table

KEYS = {
    "n",
    "tau_b",
    "spearman",
    "pairwise_accuracy",
    "mae",
    "coverage_p50",
    "coverage_p90",
    "pinball",
    "latency_us",
}


def test_the_document_has_exactly_the_promised_keys() -> None:
    found = document(_replayed(range(60)))

    assert set(found) == KEYS
    assert set(_object(found["latency_us"])) == {"p50", "p99"}


def test_learning_adds_blocks_of_the_same_keys() -> None:
    found = document(_replayed(range(600), learned=range(600)))

    assert set(found) == {*KEYS, "blocks"}
    assert isinstance(found["blocks"], list)
    assert [set(block) for block in found["blocks"]] == [KEYS, KEYS]


@pytest.mark.parametrize(
    ("count", "bounds"),
    [
        (0, []),
        (99, []),
        (100, [(1, 100)]),
        (500, [(1, 500)]),
        (599, [(1, 500)]),
        (600, [(1, 500), (501, 600)]),
        (1_000, [(1, 500), (501, 1_000)]),
    ],
)
def test_a_short_rest_is_a_block_from_a_hundred_on(
    count: int, bounds: list[tuple[int, int]]
) -> None:
    found = blocks(_replayed(range(count), learned=range(count)))

    assert [(block.first, block.last) for block in found] == bounds


def test_figures_are_those_of_what_was_served() -> None:
    tokens = list(range(1, 51))
    replayed = _replayed(tokens, static=tokens[::-1], learned=tokens)

    assert document(replayed)["tau_b"] == 1.0
    assert document(_replayed(tokens, static=tokens[::-1]))["tau_b"] == -1.0


def test_order_is_judged_within_models_and_weighted_by_rows() -> None:
    # Within "a" (40 rows) all in order, within "b" (60 rows) all reversed; "b" is much longer.
    tokens = [*range(40), *range(1_000, 1_060)]
    medians = [*range(40), *range(1_060, 1_000, -1)]

    found = document(_replayed(tokens, medians, models=["a"] * 40 + ["b"] * 60))

    assert found["tau_b"] == pytest.approx(0.4 * 1 + 0.6 * -1)
    assert found["pairwise_accuracy"] == pytest.approx(0.4)
    assert found["n"] == 100


def test_without_a_large_enough_model_order_is_that_of_all_rows() -> None:
    tokens = list(range(60))

    found = document(_replayed(tokens, models=["a"] * 30 + ["b"] * 30))

    assert found["tau_b"] == 1.0


def test_small_models_still_count_for_the_error() -> None:
    tokens = [10] * 40 + [110] * 10
    medians = [10] * 50

    found = document(_replayed(tokens, medians, models=["a"] * 40 + ["b"] * 10))

    assert found["mae"] == pytest.approx(20.0)


def test_latency_is_in_microseconds() -> None:
    found = document(_replayed([1, 2, 3], seconds=[1e-6, 2e-6, 3e-6]))

    assert _object(found["latency_us"])["p50"] == pytest.approx(2.0)


@pytest.mark.parametrize("tokens", [[], [5], [5, 5, 5]], ids=["none", "one", "constant"])
def test_undefined_figures_are_null(tokens: list[int]) -> None:
    found = document(_replayed(tokens, learned=tokens))

    assert found["n"] == len(tokens)
    assert [found[name] for name in ("tau_b", "spearman", "pairwise_accuracy")] == [None] * 3
    assert (found["mae"] is None) is (not tokens)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), st.floats(0, 16), st.sampled_from(["a", "b"])), max_size=90
    )
)
def test_any_replay_has_a_document_a_table_and_details(
    rows: list[tuple[int, float, str]],
) -> None:
    tokens = [tokens for tokens, _, _ in rows]
    medians = [np.expm1(log) for _, log, _ in rows]
    replayed = _replayed(tokens, medians, learned=medians, models=[model for _, _, model in rows])

    json.dumps([document(replayed), details(replayed)], allow_nan=False)
    assert evaluation(replayed, "title").startswith("title\n")


def test_details_hold_models_pooled_figures_and_calibration() -> None:
    tokens = [*range(40), *range(1_000, 1_040), 7]
    found = details(_replayed(tokens, models=["a"] * 40 + ["b"] * 40 + ["c"]))

    assert isinstance(found["models"], list)
    assert [(row["model"], row["n"]) for row in found["models"]] == [("a", 40), ("b", 40)]
    assert found["left_out"] == {"models": 1, "rows": 1}
    assert _object(found["pooled"])["n"] == 81
    assert {"cov80", "within_50", "within_100"} <= set(_object(found["pooled"]))
    assert isinstance(found["calibration"], list)
    assert [point["level"] for point in found["calibration"]] == list(LEVELS)
    assert "static" not in found


def test_details_of_learning_hold_both_sides_of_every_block() -> None:
    tokens = list(range(1, 501))
    found = details(_replayed(tokens, static=tokens[::-1], learned=tokens))

    assert isinstance(found["blocks"], list)
    (block,) = found["blocks"]
    assert (block["first"], block["last"]) == (1, 500)
    assert (block["static"]["tau_b"], block["learning"]["tau_b"]) == (-1.0, 1.0)
    assert set(_object(found["static"])) == {"pooled", "within_models", "calibration"}


def test_the_table_shows_what_learning_changes() -> None:
    tokens = list(range(1, 501))
    text = evaluation(_replayed(tokens, static=tokens[::-1], learned=tokens), "title")

    lines = {line[:38].strip(): line[38:].split() for line in text.splitlines()}
    assert lines["order     Kendall's tau-b"] == ["-1.000", "1.000", "+2.000"]
    assert "1-500" in text


def test_the_table_of_the_static_model_has_one_column() -> None:
    text = evaluation(_replayed(range(1, 50)), "title")

    assert "learning" not in text
    assert "requests in file order" not in text


def test_undefined_figures_are_a_dash() -> None:
    text = evaluation(_replayed([]), "title")

    line = next(line for line in text.splitlines() if "tau-b" in line)
    assert line.split()[-1] == "-"


def test_failed_predictions_are_mentioned() -> None:
    assert "3 predictions failed" in evaluation(_replayed([1, 2, 3], failed=3), "title")


def test_columns_are_aligned() -> None:
    assert table([["", "n"], ["long name", "1"], ["x", "1,000"]]) == (
        "               n\nlong name      1\nx          1,000"
    )


def _replayed(
    tokens: Sequence[int],
    static: Sequence[float] | None = None,
    *,
    learned: Sequence[float] | None = None,
    models: Sequence[str] | None = None,
    seconds: Sequence[float] | None = None,
    failed: int = 0,
) -> Replayed:
    count = len(tokens)
    return Replayed(
        tokens=np.asarray(list(tokens), np.int64),
        models=tuple(models or ["m"] * count),
        static=_quantiles(tokens if static is None else static),
        learned=None if learned is None else _quantiles(learned),
        seconds=np.asarray(seconds or [1e-4] * count, np.float64),
        failed=failed,
    )


def _quantiles(medians: Sequence[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    middle = np.log1p(np.asarray(list(medians), np.float64)).reshape(-1, 1)
    return middle + np.linspace(-1.0, 1.0, len(LEVELS))


def _object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value
