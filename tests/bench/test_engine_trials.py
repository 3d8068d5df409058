"""Trials of the engine plugin, without an engine: what is sent, what is judged, what is printed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alise_bench.cli import main as bench
from alise_bench.engine_trials import changes, eviction, slots, tier
from alise_bench.engine_trials.ask import Answer, Ask
from alise_bench.engine_trials.cli import TRIALS, load_trial, main, publish
from alise_bench.engine_trials.report import render
from alise_bench.engine_trials.server import STEP_SECONDS
from alise_bench.engine_trials.trial import Results, Row, judged, over_seeds, ratios
from alise_bench.overhead.goals import Verdict
from alise_bench.processes import ChildFailed
from alise_bench.vllm.command import BLOCK_TOKENS
from alise_core.errors import ConfigError

STARTED = "2026-01-02T03:04:05+00:00"


def answer(ask: Ask, seconds: float = 1.0, queue_s: float | None = 0.5, **other: Any) -> Answer:
    return Answer(
        ask,
        **{
            "status": 200,
            "sent_s": ask.at_s,
            "seconds": seconds,
            "tokens": ask.tokens,
            "queue_s": queue_s,
            **other,
        },
    )


def answers(asks: Sequence[Ask]) -> list[Answer]:
    return [answer(ask, 10.0 if ask.kind == "long" else 1.0) for ask in asks]


def test_every_case_of_full_slots_is_sent_the_same_requests() -> None:
    plans = {case: slots.plan(3, case) for case in slots.CASES}
    first, *others = plans.values()

    for other in others:
        assert [replace(ask, fields={}) for ask in other] == [
            replace(ask, fields={}) for ask in first
        ]
    assert sum(ask.kind == "long" for ask in first) == slots.LONGS >= slots.SLOTS
    stock, ours, exact = (plans[case] for case in (slots.STOCK, slots.OURS, slots.EXACT))
    assert [ask.fields["priority"] for ask in stock] == [
        ask.fields["vllm_xargs"]["alise_p50"] for ask in ours
    ]
    assert all(ask.fields["vllm_xargs"]["alise_p50"] == ask.tokens for ask in exact)
    assert slots.plan(3, slots.OURS) == ours != slots.plan(4, slots.OURS)


def test_short_ones_come_while_long_ones_wait() -> None:
    asks = slots.plan(1, slots.OURS)
    shorts = [ask for ask in asks if ask.kind == "short"]

    assert all(slots.SHORTS_FROM_S <= ask.at_s <= slots.SHORTS_UNTIL_S for ask in shorts)
    assert [ask.at_s for ask in asks] == sorted(ask.at_s for ask in asks)
    # Whatever runs first, the others wait until all short ones have come.
    least = slots.LONG_TOKENS[0] * slots.LONGS / slots.SLOTS * STEP_SECONDS
    assert least > slots.SHORTS_UNTIL_S


def test_a_wait_of_less_than_a_step_is_luck() -> None:
    figures = {"short_queue_p95_s": 5.0, "tokens_per_s": 100.0, "all_done_s": 40.0}
    rows = [
        Row(slots.STOCK, 1, figures),
        *(
            Row(case, 1, figures | {"short_queue_p95_s": 1e-4})
            for case in (slots.OURS, slots.EXACT)
        ),
    ]

    first = slots.judge(rows)[0]

    assert first.measured is not None
    assert first.measured.median == pytest.approx(5.0 / STEP_SECONDS)


def test_the_whole_run_counts_its_end() -> None:
    figures = {"short_queue_p95_s": 5.0, "tokens_per_s": 100.0}
    all_done = {slots.STOCK: 40.0, slots.OURS: 50.0, slots.EXACT: 32.0}
    rows = [Row(case, 1, figures | {"all_done_s": each}) for case, each in all_done.items()]

    found = {goal.text: goal.measured for goal in slots.judge(rows)}

    assert [
        measured.median
        for name, measured in found.items()
        if measured is not None and "until all is done" in name
    ] == [pytest.approx(0.8), pytest.approx(1.25)]


def test_figures_of_full_slots() -> None:
    seconds = slots.SHORTS_UNTIL_S - slots.SHORTS_FROM_S
    found = slots.figures(answers(slots.plan(1, slots.OURS)), full_tokens=200 * seconds)

    assert found["short_queue_p95_s"] == 0.5
    assert found["long_total_mean_s"] == found["long_total_max_s"] == 10.0
    assert found["tokens_per_s"] == pytest.approx(200)


@pytest.mark.parametrize("wrong", [{"status": 500}, {"tokens": 1}, {"queue_s": None}])
def test_an_answer_that_is_not_whole_is_another_experiment(wrong: Mapping[str, Any]) -> None:
    asks = slots.plan(1, slots.OURS)
    said = [*answers(asks[1:]), replace(answer(asks[0]), **wrong)]

    with pytest.raises(ChildFailed, match="not what was asked for"):
        slots.figures(said, 1.0)


def test_conversations_grow_by_turns_and_begin_alike() -> None:
    by_start: dict[tuple[int, ...], list[Ask]] = {}
    for ask in eviction.sessions(2):
        by_start.setdefault(tuple(ask.prompt[: eviction.FIRST_PROMPT]), []).append(ask)

    assert len(by_start) == eviction.USERS
    for turns in by_start.values():
        lengths = [len(ask.prompt) for ask in turns]
        assert lengths == sorted(set(lengths))
        assert [ask.kind for ask in turns] == ["first"] + ["turn"] * (eviction.TURNS - 1)
        for before, after in pairwise(turns):
            assert list(after.prompt[: len(before.prompt)]) == list(before.prompt)


def test_bursts_find_all_slots_taken_and_need_more_than_the_tier_holds() -> None:
    asks = eviction.interrupted(1)
    longs = [ask for ask in asks if ask.kind == "long"]
    shorts = [ask for ask in asks if ask.kind == "short"]
    chunk = BLOCK_TOKENS

    assert len(longs) == eviction.SLOTS
    assert len({tuple(ask.prompt) for ask in asks}) == len(asks)
    own = sum((len(ask.prompt) + ask.tokens) // chunk for ask in longs)
    passing = sum(len(ask.prompt) // chunk for ask in shorts) // len(eviction.BURSTS_AT_S)
    assert own <= eviction.INTERRUPTED_CHUNKS < passing + own


def test_conversations_are_more_than_the_tier_holds_and_that_more_than_the_device() -> None:
    last = {
        tuple(ask.prompt[: eviction.FIRST_PROMPT]): len(ask.prompt) // BLOCK_TOKENS
        for ask in sorted(eviction.sessions(1), key=lambda ask: len(ask.prompt))
    }
    assert eviction.BLOCKS < eviction.SESSIONS_CHUNKS < sum(last.values())


def test_figures_of_an_eviction_are_differences() -> None:
    state = {
        "scheduler": {"restored_tokens_total": 5, "recomputed_tokens_total": 7, "resumed_total": 1},
        "tier": {"loaded_tokens": 3, "evicted_tokens": 9, "declined_tokens": 2},
    }
    later = {part: {name: value + 10 for name, value in its.items()} for part, its in state.items()}
    scene = eviction.SCENES[eviction.INTERRUPTED]

    found = eviction.figures(scene, answers(scene.plan(1)), state, later)

    assert {found[name] for part in state.values() for name in part} == {10}
    assert found["mean_s"] == 10.0, "of the long ones only"


def test_a_thousand_requests_of_which_some_come_again() -> None:
    asks = changes.plan(1)

    assert len(asks) == changes.REQUESTS
    assert 0.3 < len({tuple(ask.prompt) for ask in asks}) / len(asks) < 0.8
    assert {part for change in changes.CHANGES for part in change} == {"tier", "scheduler"}


def test_figures_of_changes_tell_one_from_the_other() -> None:
    asks = changes.plan(1)[:4]
    said = [*answers(asks[:3]), answer(asks[3], status=503)]
    before: dict[str, dict[str, float]] = {
        "core": {"change_seconds_total": 1.0, "kv_cache_usage_ratio": 0.5},
        "tier": {"stored_tokens": 1, "loaded_tokens": 2, "evicted_tokens": 3},
    }
    after: dict[str, dict[str, float]] = {
        "core": {"change_seconds_total": 1.006, "kv_cache_usage_ratio": 0.0},
        "tier": {"stored_tokens": 11, "loaded_tokens": 22, "evicted_tokens": 33},
    }

    found = changes.figures(said, before, after, [1.001, 1.006], [0.1, 0.3])

    assert (found["requests"], found["failed"], found["changes"]) == (4, 1, 2)
    assert found["change_longest_ms"] == pytest.approx(5)
    assert found["change_mean_ms"] == pytest.approx(3)
    assert found["answer_longest_ms"] == pytest.approx(300)
    assert found["loaded_tokens"] == 20
    assert found["kv_usage_after"] == 0


def rows_of(name: str, values: Mapping[str, Sequence[float]], figure: str) -> list[Row]:
    return [
        Row(case, seed, {figure: value})
        for case, each in values.items()
        for seed, value in enumerate(each, 1)
    ]


def test_ratios_are_taken_within_a_seed() -> None:
    rows = rows_of("x", {"a": [1.0, 8.0, 9.0], "b": [2.0, 4.0, 0.0]}, "f")

    found = ratios(rows, "f", "a", "b")

    assert found is not None
    assert (found.low, found.high, found.count) == (0.5, 2.0, 2)
    assert over_seeds(rows, "c", "f") is None


def test_goals_are_judged_by_the_median() -> None:
    rows = rows_of("x", {"a": [1.0, 3.0, 9.0]}, "f")
    measured = over_seeds(rows, "a", "f")

    assert judged("", measured, 3.0, at_least=True).verdict is Verdict.PASS
    assert judged("", measured, 2.9, at_least=False).verdict is Verdict.FAIL
    assert judged("", None, 1.0, at_least=False).verdict is Verdict.OPEN


@pytest.mark.parametrize("name", TRIALS)
def test_every_trial_has_a_document(name: str, tmp_path: Path) -> None:
    trial = load_trial(name)
    cases = {
        "full-slots": list(slots.CASES),
        "tier": [*tier.LEVELS, tier.NOISE],
        "eviction": [eviction.case_of(s, p) for s in eviction.SCENES for p in eviction.POLICIES],
        "changes": [changes.CASE],
    }[name]
    figures = dict.fromkeys(trial.columns, 2.0) | {"failed": 0.0}
    rows = [Row(case, seed, figures) for case in cases for seed in (1, 2)]
    results = Results(name, {"started": STARTED, **trial.conditions}, rows, trial.judge(rows))

    data, document = publish(trial, results, tmp_path, trial.document)

    text = document.read_text()
    assert f"`alise bench engine-trial {name}` on 2026-01-02" in text
    for case in cases:
        assert f"\n| {case} |" in text
    assert text.count(" pass |") + text.count(" fail |") == len(results.goals) > 0
    assert json.loads(data.read_text())["rows"][0]["case"] == cases[0]
    assert render(trial, results) == text


def test_flags_that_are_wrong_are_named() -> None:
    with pytest.raises(ConfigError, match="'speed'; there are full-slots"):
        load_trial("speed")
    with pytest.raises(ConfigError, match="--seeds 0"):
        main(["tier", "--vllm", "{}", "--seeds", "0"])
    with pytest.raises(ConfigError, match="--vllm: there is no /none"):
        bench(["engine-trial", "tier", "--vllm", '{"vllm": "/none", "model": "/m"}'])
    results = Results("tier", {"started": STARTED}, [], [])
    with pytest.raises(ConfigError, match="name another folder"):
        publish(tier.TRIAL, results, Path("/dev/null/x"), "tier")
