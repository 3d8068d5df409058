"""No near-duplicate is ever on both sides of a split, whatever the prompts."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alise_predictor.request import from_prompt
from alise_predictor.train.dataset.corpus import Answers, Corpus, DatasetFacts, Prompt
from alise_predictor.train.dataset.dedup import find_clusters, name_clusters
from alise_predictor.train.dataset.errors import DatasetError, LeakError
from alise_predictor.train.dataset.split import (
    SPLITS,
    TEST,
    TRAIN,
    UNUSED,
    VAL,
    assign,
    check_no_leak,
    in_distribution,
    leave_model_out,
    leave_source_out,
    split_by_time,
)

TEXT = st.lists(st.sampled_from("abcde"), min_size=1, max_size=8).map(" ".join)
Row = tuple[str, str, float | None]
ROWS = st.lists(
    st.tuples(TEXT, st.sampled_from(["s1", "s2", "s3"]), st.floats(0, 100)),
    min_size=1,
    max_size=30,
)


def _corpus(rows: list[Row], evaluation: tuple[str, ...] = ()) -> Corpus:
    """A corpus with two models' answers to each (text, source, timestamp)."""
    texts = [text for text, _, _ in rows]
    names = name_clusters(texts, find_clusters(texts))
    prompts = tuple(
        Prompt(
            id=f"{source}/{i}",
            source=source,
            request=from_prompt(text, ""),
            text=text,
            cluster=name,
            split=assign(name),
            timestamp_s=time,
        )
        for i, ((text, source, time), name) in enumerate(zip(rows, names, strict=True))
    )
    count = len(rows)
    return Corpus(
        prompts=prompts,
        answers=Answers(
            prompt=np.tile(np.arange(count, dtype=np.int32), 2),
            model=np.repeat(np.array([0, 1], dtype=np.int32), count),
            tokens=np.arange(2 * count, dtype=np.int32),
            censored=np.zeros(2 * count, dtype=np.bool_),
            sample=np.zeros(2 * count, dtype=np.int32),
        ),
        models=("m1", "m2"),
        datasets=tuple(
            DatasetFacts(
                name=name, licence="", permissive=True, trains=name not in evaluation, upstream=""
            )
            for name in ("s1", "s2", "s3")
        ),
        tokenizer="bytes",
        seed=0,
    )


@given(ROWS)
def test_the_split_by_cluster_never_leaks(rows: list[Row]) -> None:
    corpus = _corpus(rows)
    check_no_leak(corpus)
    assert not (in_distribution(corpus) == UNUSED).any()


@given(ROWS)
def test_a_source_held_out_never_leaks_and_is_tested_whole(rows: list[Row]) -> None:
    assume(any(source == "s1" for _, source, _ in rows))
    corpus = _corpus(rows)
    splits = leave_source_out(corpus, ["s1"])
    check_no_leak(corpus, splits)
    held = corpus.prompt_source[corpus.answers.prompt] == corpus.sources.index("s1")
    assert (splits[held] == TEST).all()
    assert not (splits[~held] == TEST).any()


@given(ROWS)
def test_a_model_held_out_never_leaks_and_never_trains(rows: list[Row]) -> None:
    corpus = _corpus(rows)
    splits = leave_model_out(corpus, ["m2"])
    check_no_leak(corpus, splits)
    held = corpus.answers.model == 1
    assert set(splits[held].tolist()) <= {TEST, UNUSED}
    assert set(splits[~held].tolist()) <= {TRAIN, VAL, UNUSED}


@given(ROWS, st.floats(0, 100))
def test_the_split_by_time_never_leaks_and_never_looks_ahead(
    rows: list[Row], boundary_s: float
) -> None:
    corpus = _corpus(rows)
    splits = split_by_time(corpus, boundary_s)
    check_no_leak(corpus, splits)
    times = np.array([prompt.timestamp_s for prompt in corpus.prompts])[corpus.answers.prompt]
    assert (times[(splits == TRAIN) | (splits == VAL)] < boundary_s).all()
    assert ((splits == TEST) == (times >= boundary_s)).all()


def test_prompts_without_a_time_take_no_part_in_a_split_by_time() -> None:
    splits = split_by_time(_corpus([("a b c", "s1", None), ("d", "s1", 2.0)]), 1.0)
    assert splits.tolist() == [UNUSED, TEST, UNUSED, TEST]


def test_a_cluster_on_both_sides_of_the_moment_leaves_training() -> None:
    corpus = _corpus([("a b c", "s1", 0.0), ("A, b, c!", "s1", 9.0), ("d", "s1", 0.0)])
    splits = split_by_time(corpus, 5.0)[:3]
    assert splits.tolist()[:2] == [UNUSED, TEST]
    assert splits[2] in {TRAIN, VAL}


def test_evaluation_datasets_are_tested_only_when_held_out() -> None:
    corpus = _corpus([("a b c", "s1", 0.0), ("d e", "s2", 0.0)], evaluation=("s2",))
    assert in_distribution(corpus).tolist()[1] == UNUSED
    assert leave_source_out(corpus, ["s2"]).tolist()[1] == TEST


def _two_sides(first: str, second: str) -> tuple[Corpus, NDArray[np.int8]]:
    corpus = _corpus([(first, "s1", 0.0), (second, "s2", 0.0)])
    return corpus, np.array([TRAIN, TEST, TRAIN, TEST], dtype=np.int8)


@pytest.mark.parametrize(
    "second", ["a b c d e f g", "A b  c, d e f g!", "a b c d e f g h", "z a b c d e f g"]
)
def test_a_leak_is_found_by_looking_at_the_texts(second: str) -> None:
    corpus, splits = _two_sides("a b c d e f g", second)
    with pytest.raises(
        LeakError, match=r"1 near-duplicate clusters.*s1/0 \(train\).*s2/1 \(test\)"
    ):
        check_no_leak(corpus, splits)


def test_different_prompts_on_two_sides_are_no_leak() -> None:
    corpus, splits = _two_sides("a b c d e f g", "g f e d c b a")
    check_no_leak(corpus, splits)


def test_unknown_sources_and_models_are_named() -> None:
    corpus = _corpus([("a", "s1", 0.0)])
    with pytest.raises(DatasetError, match=r"no source \['x'\].*it has s1"):
        leave_source_out(corpus, ["x"])
    with pytest.raises(DatasetError, match=r"no model \['x'\].*m1, m2"):
        leave_model_out(corpus, ["x"])


def test_clusters_are_shared_out_as_stated() -> None:
    parts = [assign(f"{i:016x}") for i in range(20_000)]
    shares = [parts.count(split) / len(parts) for split in SPLITS]
    assert shares == pytest.approx([0.78, 0.10, 0.12], abs=0.01)
