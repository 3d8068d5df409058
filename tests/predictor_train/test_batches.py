"""Which prompts an epoch shows."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.train.batches import BatchPlan, assemble, draw_epoch
from predictor_train.builders import training_set

PLAN = BatchPlan(items=4, lists=2, answers=3, pool=3)
SIZES = st.dictionaries(st.integers(0, 5), st.integers(1, 60), min_size=1, max_size=4)


def test_an_epoch_follows_from_seed_and_number() -> None:
    data = training_set({0: 60, 3: 30})

    first = draw_epoch(data, PLAN, seed=1, epoch=0)

    assert first == draw_epoch(data, PLAN, seed=1, epoch=0)
    assert first != draw_epoch(data, PLAN, seed=1, epoch=1)
    assert first != draw_epoch(data, PLAN, seed=2, epoch=0)


@given(SIZES, st.integers(0, 99))
def test_lists_are_of_one_source_and_batches_are_full(sizes: dict[int, int], seed: int) -> None:
    data = training_set(sizes)
    for batch in draw_epoch(data, PLAN, seed, 0):
        assert len(batch) == PLAN.items * PLAN.lists
        for start in range(0, len(batch), PLAN.items):
            assert len(set(data.sources[batch[start : start + PLAN.items]].tolist())) == 1


@given(SIZES, st.integers(0, 99), st.floats(0.0, 1.0))
def test_no_prompt_is_shown_too_often(sizes: dict[int, int], seed: int, balance: float) -> None:
    data = training_set(sizes)
    plan = BatchPlan(items=4, lists=1, balance=balance, largest_share=3.0)
    seen = Counter(prompt for batch in draw_epoch(data, plan, seed, 0) for prompt in batch)

    assert not seen or max(seen.values()) <= 3


def test_a_small_source_is_not_drowned() -> None:
    data = training_set({0: 2_000, 1: 100})
    counts = {}
    for balance in (0.6, 1.0):
        plan = BatchPlan(items=4, lists=1, balance=balance)
        epoch = draw_epoch(data, plan, 0, 0)
        shown = [data.sources[prompt] for batch in epoch for prompt in batch]
        counts[balance] = Counter(int(source) for source in shown)

    assert counts[1.0][1] == pytest.approx(100, abs=4)
    # 100**0.6 of 2000**0.6 + 100**0.6 is 14 %.
    assert counts[0.6][1] == pytest.approx(0.142 * 2_100, abs=8)


def test_an_assembled_batch_is_padded_and_masked() -> None:
    data = training_set({0: 40})
    prompts = draw_epoch(data, PLAN, 0, 0)[0]
    batch = assemble(data, PLAN, prompts, seed=5)
    again = assemble(data, PLAN, prompts, seed=5)

    for row, prompt in enumerate(prompts):
        pieces, answers = data.pieces[prompt], data.answers[prompt]
        assert batch.input_ids[row, : len(pieces)].tolist() == pieces.tolist()
        assert batch.attention_mask[row].sum() == len(pieces)
        assert not batch.input_ids[row, len(pieces) :].any()
        shown = batch.targets[row][~np.isnan(batch.targets[row])]
        assert len(shown) == min(PLAN.answers, len(answers))
        assert set(shown.tolist()) <= set(answers.tolist())
        assert batch.level[row] == data.level[prompt]
    assert np.array_equal(batch.targets, again.targets, equal_nan=True)
    assert batch.input_ids.shape[1] == max(len(data.pieces[prompt]) for prompt in prompts)
