import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_bench.data.make_sample import is_acceptable
from alise_bench.demo.workload import (
    Limits,
    SamplePrompt,
    bursty_arrivals,
    chat_body,
    choose,
    read_sample,
    sample_path,
)
from alise_bench.sim.lengths import load_replay
from alise_core.errors import ConfigError

ROW = SamplePrompt("a/1", "Why?", 12, "some-model", "a")


def test_the_bundled_sample_is_small_distinct_and_fit_to_be_shown() -> None:
    rows = read_sample()
    assert 300 <= len(rows) <= 500
    assert Path(sample_path()).stat().st_size <= 300_000
    assert len({row.prompt for row in rows}) == len({row.id for row in rows}) == len(rows)
    assert all(is_acceptable(row.prompt) for row in rows)
    assert all(1 <= row.output_tokens <= 1_000 for row in rows)
    assert {row.source for row in rows} == {"oasst_eval", "mmlu_pro"}


def test_the_simulator_reads_the_sample_as_its_replay_table() -> None:
    assert len(load_replay(Path(sample_path()))) == len(read_sample())


@pytest.mark.parametrize(
    "prompt",
    ["hi", "x" * 1_501, "mail me at joe@example.org", "call +1 (202) 555-0172", "Qué es esto?"],
)
def test_unfit_prompts_are_left_out(prompt: str) -> None:
    assert not is_acceptable(prompt)


@given(st.integers(1, 300), st.floats(0.5, 60), st.floats(0.3, 4), st.integers(0, 99))
def test_arrivals_ascend_within_their_window(
    count: int, seconds: float, cv: float, seed: int
) -> None:
    marks = bursty_arrivals(count, seconds, cv, seed)
    assert len(marks) == count
    assert marks[0] == 0
    assert all(early <= late for early, late in pairwise(marks))
    assert marks[-1] <= seconds
    assert marks == bursty_arrivals(count, seconds, cv, seed)


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.5])
def test_gaps_have_the_burstiness_that_was_asked_for(cv: float) -> None:
    marks = bursty_arrivals(20_000, 1_000, cv, 3)
    gaps = [late - early for early, late in pairwise(marks)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation / mean == pytest.approx(cv, rel=0.1)


@pytest.mark.parametrize(("count", "seconds", "cv"), [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 1.0, 0.0)])
def test_impossible_arrivals_are_refused(count: int, seconds: float, cv: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        bursty_arrivals(count, seconds, cv, 1)


def test_prompts_come_in_an_order_that_the_seed_decides() -> None:
    sample = read_sample()
    one = choose(sample, 40, 1, Limits())
    assert one == choose(sample, 40, 1, Limits())
    assert one != choose(sample, 40, 2, Limits())
    assert len({row.id for row in one}) == 40


def test_a_short_sample_repeats() -> None:
    assert choose([ROW], 3, 1, Limits()) == [ROW, ROW, ROW]


def test_limits_leave_out_long_prompts_and_cut_long_answers() -> None:
    long = SamplePrompt("a/2", "x" * 50, 5, "m", "a")
    chosen = choose([ROW, long], 4, 1, Limits(prompt_chars=10, output_tokens=8))
    assert {(row.id, row.output_tokens) for row in chosen} == {("a/1", 8)}
    with pytest.raises(ConfigError, match="at most 2 characters"):
        choose([ROW], 1, 1, Limits(prompt_chars=2))


def test_no_request_tells_its_answers_length() -> None:
    body = json.loads(chat_body(ROW, "m"))
    assert "12" not in json.dumps(body)
    assert body["stream_options"] == {"include_usage": True}
