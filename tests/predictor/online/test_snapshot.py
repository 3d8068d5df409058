"""Learned state survives a restart, or is refused whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import AliseError
from alise_predictor.online import Limits, OnlineLearner, RequestFacts, SnapshotError
from alise_predictor.online.snapshot import KeySnapshot, pack, unpack
from fakes.online_traffic import PRIOR, Traffic, learner, raw, tokens, words

FACTS = RequestFacts(max_tokens=500, tools=2, system_hash=7)


def embedding(rng: np.random.Generator) -> np.ndarray:
    found = rng.normal(size=8).astype(np.float32)
    return found / np.float32(np.linalg.norm(found))


def experienced(answers: int = 260) -> OnlineLearner:
    rng, here = np.random.default_rng(0), learner()
    traffic = Traffic(here)
    for turn in range(answers):
        said = raw(words(rng), rng.normal(5, 0.5), embedding=embedding(rng) if turn % 2 else None)
        traffic.finish(said, tokens(rng.normal(6, 1)), censored=turn % 9 == 0, facts=FACTS)
    other = Traffic(here, tenant="other", model="n")
    for turn in range(10):
        other.finish(None if turn % 2 else raw("a b c"), 70)
    return here


SNAPSHOT = experienced().snapshot()


def test_predictions_are_identical_after_a_restart() -> None:
    before, after = experienced(), learner()

    after.restore(before.snapshot())

    rng = np.random.default_rng(1)
    here, there = Traffic(before, now=300.0), Traffic(after, now=300.0)
    for _ in range(60):
        said = raw(words(rng), rng.normal(5, 0.5), embedding=embedding(rng))
        length = tokens(rng.normal(6, 1))
        assert here.finish(said, length).log_quantiles == there.finish(said, length).log_quantiles
    assert after.keys() == before.keys()
    assert after.statistics("t", "m") == before.statistics("t", "m")
    assert Traffic(after, "other", "n").ask(None) == Traffic(before, "other", "n").ask(None)


def test_snapshot_of_a_restored_learner_is_the_same() -> None:
    after = learner()

    after.restore(SNAPSHOT)

    assert after.snapshot() == SNAPSHOT


def test_empty_learner_has_a_snapshot() -> None:
    after = experienced(5)

    after.restore(learner().snapshot())

    assert len(after) == 0
    assert after.size_bytes == 0


@pytest.mark.slow
@given(st.integers(0, len(SNAPSHOT) - 1), st.integers(0, 7))
def test_flipped_bit_is_refused_and_changes_nothing(place: int, bit: int) -> None:
    damaged = bytearray(SNAPSHOT)
    damaged[place] ^= 1 << bit

    refuses(bytes(damaged))


@given(st.integers(0, len(SNAPSHOT) - 1))
def test_cut_snapshot_is_refused(size: int) -> None:
    refuses(SNAPSHOT[:size])


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    refuses(data)


def refuses(data: bytes) -> None:
    here = learner()
    Traffic(here).finish(raw("a b c"), 70)
    before = here.snapshot()

    with pytest.raises(SnapshotError):
        here.restore(data)

    assert here.snapshot() == before


def test_snapshot_of_another_model_is_refused() -> None:
    with pytest.raises(SnapshotError, match=r"belongs to model 'a', in use is 'b'"):
        OnlineLearner(PRIOR, artifact="b").restore(SNAPSHOT)


@pytest.mark.parametrize(
    "name",
    [
        "counts",
        "text.answers.sizes",
        "text.answers.facts",
        "conformal.scores",
        "retrieval.bands",
        "drift.cells",
    ],
)
@pytest.mark.parametrize("how", ["missing", "shape", "kind", "values"])
def test_well_packed_nonsense_is_refused(name: str, how: str) -> None:
    here = learner()
    state = dict(unpack(SNAPSHOT, "a")[0].state)
    array = state.pop(name)
    if how == "shape":
        state[name] = np.concatenate((array, array))
        if name in {"conformal.scores", "drift.cells"}:
            state[name] = np.concatenate([array] * 4)
    elif how == "kind":
        state[name] = array.astype(np.float32)
    elif how == "values":
        state[name] = np.full_like(
            array, np.nan if array.dtype.kind == "f" else 20_100 % 256**array.itemsize
        )
        if name == "retrieval.bands":
            state["retrieval.lengths"] = np.full_like(state["retrieval.lengths"], np.nan)

    with pytest.raises(SnapshotError):
        here.restore(pack("a", [KeySnapshot("t", "m", state)]))


def test_refusal_is_an_error_of_ours() -> None:
    assert issubclass(SnapshotError, AliseError)


def test_smaller_limits_hold_for_what_is_restored() -> None:
    here = OnlineLearner(PRIOR, artifact="a", limits=Limits(keys=1))

    here.restore(SNAPSHOT)

    assert here.keys() == [("other", "n")]
