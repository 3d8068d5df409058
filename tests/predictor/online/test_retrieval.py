"""Requests that repeat are answered from what their like took, within limits of age and number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_predictor.features import extract
from alise_predictor.online import RequestFacts
from alise_predictor.online.retrieval import (
    CELLS,
    MOST_NEIGHBOURS,
    RetrievalStore,
    Sketch,
    sketch,
)
from alise_predictor.online.sparse import BUCKETS, SparseRequest, fold
from alise_predictor.request import from_prompt
from fakes.online_traffic import Traffic, learner, raw, tokens, words


def sketch_of(prompt: str) -> Sketch:
    return sketch(fold(extract(from_prompt(prompt, "m")).ids, RequestFacts()))


def store(*, capacity: int = 100, ttl: float = 1e9) -> RetrievalStore:
    return RetrievalStore(capacity, ttl)


def test_exact_repeats_are_predicted_after_a_few_sightings() -> None:
    rng = np.random.default_rng(0)
    prompts = [words(rng) for _ in range(20)]
    lengths = rng.normal(5.0, 1.0, 20)
    traffic, errors = Traffic(learner()), []

    for _ in range(300):
        which = int(rng.integers(20))
        noise = rng.normal(0, 0.05)
        corrected = traffic.finish(raw(prompts[which]), tokens(lengths[which] + noise))
        errors.append(abs(corrected.log_quantiles[3] - lengths[which]))

    assert np.mean(errors[150:]) < 0.12
    width = traffic.corrections[-1].log_quantiles[5] - traffic.corrections[-1].log_quantiles[1]
    assert width < 0.6


def test_first_sighting_already_counts() -> None:
    here, rng = store(), np.random.default_rng(0)
    prompt = words(rng)

    here.add(sketch_of(prompt), 6.5, 0.0)

    found = here.find(sketch_of(prompt), 1.0)
    assert found is not None
    assert (found.mean, found.weight) == (6.5, 1.0)


def test_slightly_different_prompt_is_found_with_less_weight() -> None:
    here, rng = store(), np.random.default_rng(0)
    prompt = words(rng, 100)
    here.add(sketch_of(prompt), 6.5, 0.0)

    found = here.find(sketch_of(prompt + " please"), 1.0)

    assert found is not None
    assert 0.1 < found.weight < 1.0


def test_different_prompts_are_not_found() -> None:
    here, rng = store(), np.random.default_rng(0)
    for _ in range(50):
        here.add(sketch_of(words(rng)), 6.5, 0.0)

    assert all(here.find(sketch_of(words(rng)), 1.0) is None for _ in range(50))


@pytest.mark.parametrize(("age", "is_found"), [(9.0, True), (11.0, False)])
def test_old_answers_are_not_retrieved(age: float, is_found: bool) -> None:
    here = store(ttl=10.0)
    here.add(sketch_of("a b c"), 5.0, 100.0)

    assert (here.find(sketch_of("a b c"), 100.0 + age) is not None) is is_found


def test_latest_of_many_repeats_count() -> None:
    here = store()
    for turn in range(60):
        here.add(sketch_of("a b c"), 4.0 if turn < 60 - MOST_NEIGHBOURS else 6.0, float(turn))

    found = here.find(sketch_of("a b c"), 60.0)

    assert found is not None
    assert found.mean == pytest.approx(6.0)


@pytest.mark.parametrize("turns", [100, 130, 150, 199])
def test_latest_of_many_repeats_count_wherever_the_ring_stands(turns: int) -> None:
    here = store(capacity=50)
    for turn in range(turns):
        here.add(sketch_of("a b c"), float(turn), 0.0)

    found = here.find(sketch_of("a b c"), 0.0)

    assert found is not None
    assert found.mean == pytest.approx(np.mean(np.arange(turns)[-MOST_NEIGHBOURS:]))
    assert found.weight == pytest.approx(MOST_NEIGHBOURS)


def test_older_repeats_come_before_later_likenesses() -> None:
    here, rng = store(capacity=1_000), np.random.default_rng(0)
    template = words(rng, 60)
    wanted = sketch_of(f"{template} {words(rng, 3)}")
    for _ in range(MOST_NEIGHBOURS):
        here.add(wanted, 6.0, 0.0)
    for _ in range(300):
        here.add(sketch_of(f"{template} {words(rng, 3)}"), 4.0, 0.0)

    found = here.find(wanted, 0.0)

    assert found is not None
    assert found.mean == pytest.approx(6.0)


def test_expired_repeats_do_not_hide_what_may_be_found() -> None:
    here, rng = store(capacity=1_000, ttl=10.0), np.random.default_rng(0)
    prompt = words(rng, 100)
    here.add(sketch_of(prompt + " please"), 6.5, 100.0)
    for _ in range(3 * MOST_NEIGHBOURS):
        here.add(sketch_of(prompt), 4.0, 0.0)

    found = here.find(sketch_of(prompt), 100.0)

    assert found is not None
    assert found.mean == pytest.approx(6.5)


@given(st.sets(st.integers(0, BUCKETS - 1), min_size=1, max_size=200))
def test_sketch_holds_the_first_bucket_of_each_range(buckets: set[int]) -> None:
    found = sketch(SparseRequest.of(np.array(sorted(buckets), np.uint16)))

    width = BUCKETS // CELLS
    for cell in range(CELLS):
        inside = [bucket for bucket in buckets if bucket // width == cell]
        assert found[cell] == (min(inside) % 128 + 1 if inside else 0)


def test_capacity_is_a_ring() -> None:
    here = store(capacity=3)
    for name in ("one", "two", "three", "four"):
        here.add(sketch_of(name), 5.0, 0.0)

    assert len(here) == 3
    assert here.find(sketch_of("one"), 0.0) is None
    assert here.find(sketch_of("four"), 0.0) is not None


def test_store_without_room_finds_nothing() -> None:
    here = store(capacity=0)

    here.add(sketch_of("one"), 5.0, 0.0)

    assert here.find(sketch_of("one"), 0.0) is None


@given(st.lists(st.text(max_size=30), max_size=30), st.text(max_size=30))
def test_retrieved_mean_lies_between_what_was_stored(stored: list[str], wanted: str) -> None:
    here = store()
    for turn, prompt in enumerate(stored):
        here.add(sketch_of(prompt), float(turn), 0.0)

    found = here.find(sketch_of(wanted), 0.0)

    if wanted in stored:
        assert found is not None
    if found is not None:
        assert 0.0 <= found.mean <= len(stored)


def test_stored_bytes_hold_no_text() -> None:
    traffic = Traffic(learner())
    traffic.finish(raw("the secret word is xylophone"), 100)

    assert b"xylophone" not in traffic.to.snapshot()
