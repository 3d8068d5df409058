"""The adapter against vLLM's scheduler in miniature; ``e2e/vllm`` has the real one."""

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import ConfigError
from alise_vllm.ordering.forecast import Forecast
from alise_vllm.tier.swaps import Swaps
from fakes.vllm_scheduler import FakeConfig, FakeRequest, Pause, Status, install

MODULE = "alise_vllm.scheduler"
STEPS = 20_000


@pytest.fixture(scope="module")
def module() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        install(monkeypatch)
        yield importlib.import_module(MODULE)
        del sys.modules[MODULE]


def scheduler(module: Any, section: object = None, **config: Any) -> Any:
    additional = None if section is None else {"alise": {"scheduler": section}}
    return module.AliseScheduler(FakeConfig(additional_config=additional, **config))


def predicted(name: str, tokens: int, **fields: Any) -> FakeRequest:
    """A request whose prediction is right."""
    extra = {"alise_p50": tokens, "alise_p90": tokens + 1}
    return FakeRequest(name, extra=extra, max_tokens=tokens, **fields)


def run(made: Any, steps: int = STEPS) -> list[str]:
    """Let it work until everything is complete; returns the names in the order of their ends."""
    ended = []
    for _ in range(steps):
        made.schedule()
        ended += [request.request_id for request in made.generated()]
        if not made.requests:
            break
    return ended


def test_a_short_request_takes_the_slot_of_a_long_one_and_all_are_complete(module: Any) -> None:
    made = scheduler(module)
    for name in ("a", "b"):
        made.add_request(predicted(name, 1_000))
    run(made, 10)
    for name in ("c", "d", "e"):
        made.add_request(predicted(name, 20))

    assert run(made, 21) == ["c", "d"]
    assert set(run(made)) == {"a", "b", "e"}

    state = made.alise_tunable.state()
    assert state["preemptions_total"] == {"slot": 2, "memory": 0, "forced": 0}
    assert state["resumed_total"] == 2
    assert state["waiting"] == 0
    assert state["nanoseconds_total"] > 0
    assert made.prev_step_scheduled_req_ids


def test_it_is_vllms_order_where_nothing_is_predicted(module: Any) -> None:
    for policy, expected in (("fcfs", ["x", "y", "z"]), ("priority", ["z", "y", "x"])):
        made = scheduler(module, policy=policy, slots=1)
        for name, priority in (("x", 2), ("y", 1), ("z", 0)):
            made.add_request(FakeRequest(name, max_tokens=5, priority=priority))

        assert run(made) == expected
        assert made.preempted_in_order == []


def test_settings_of_the_start_are_obeyed(module: Any) -> None:
    made = scheduler(module, {"policy": "fcfs", "max_active_requests": 1})
    for name, tokens in (("a", 50), ("b", 5)):
        made.add_request(predicted(name, tokens))

    assert run(made) == ["a", "b"]
    with pytest.raises(ConfigError, match="no setting 'polcy'"):
        scheduler(module, {"polcy": "srpt"})
    with pytest.raises(ConfigError, match="has to be an object"):
        scheduler(module, "srpt")


def test_they_are_changed_while_it_runs(module: Any) -> None:
    made = scheduler(module, {"policy": "fcfs"}, slots=1)
    for name, tokens in (("a", 100), ("b", 50), ("c", 5)):
        made.add_request(predicted(name, tokens))
    run(made, 10)

    made.alise_tunable.plan({"policy": "srpt"})()

    assert run(made) == ["c", "b", "a"]


def test_a_probe_can_say_what_it_has_seen(module: Any) -> None:
    made = scheduler(module, slots=1)
    for name, tokens in (("runs", 30), ("first", 50), ("second", 60)):
        made.add_request(predicted(name, tokens))
    made.schedule()

    assert made.alise_refine("second", Forecast(5, 6))
    assert not made.alise_refine("gone", Forecast(5, 6))

    assert run(made) == ["second", "runs", "first"]


def test_complete_answers_put_later_predictions_right(module: Any) -> None:
    made = scheduler(module, slots=1)
    extra = {"alise_p50": 10, "alise_p90": 20}
    for number in range(30):
        made.add_request(FakeRequest(f"long-{number}", extra=extra, ends_at=100))
    made.add_request(FakeRequest("cut", extra=extra, max_tokens=5))
    gone = FakeRequest("gone", extra=extra)
    made.add_request(gone)
    made.schedule()
    made.finish([gone])
    run(made)

    state = made.alise_tunable.state()
    assert state["calibration_answers_total"] == 30
    assert state["calibration"]["shift_ratio"] > 2.0
    made.add_request(FakeRequest("late", extra=extra))
    [late] = made.alise_works()
    assert late.forecast.p50 > 20
    assert late.told.p50 == 10

    made.alise_tunable.plan({"recalibrate": False})()
    made.add_request(FakeRequest("later", extra=extra))
    assert made.alise_works()[-1].forecast.p50 == 10


def test_memory_is_made_for_a_short_request_that_only_lacks_that(module: Any) -> None:
    made = scheduler(module, slots=4, blocks=9)
    made.add_request(predicted("long", 1_000, num_prompt_tokens=100))
    run(made, 3)
    made.add_request(predicted("short", 10, num_prompt_tokens=60))

    assert run(made, 11) == ["short"]
    assert made.alise_tunable.state()["preemptions_total"]["memory"] == 1


def test_nobody_gives_way_who_holds_too_little_memory(module: Any) -> None:
    made = scheduler(module, slots=4, blocks=9)
    made.add_request(predicted("small", 500, num_prompt_tokens=10))
    made.add_request(FakeRequest("large", num_prompt_tokens=90, max_tokens=40))
    run(made, 2)
    made.add_request(predicted("short", 5, num_prompt_tokens=60))
    made.schedule()

    assert made.preempted_in_order == []


def test_when_memory_runs_out_the_worst_gives_way(module: Any) -> None:
    made = scheduler(module, slots=4, blocks=6)
    for name, tokens in (("mid", 40), ("long", 60), ("short", 30)):
        made.add_request(predicted(name, tokens))

    assert set(run(made)) == {"mid", "long", "short"}
    assert made.preempted_in_order[0] == "long"
    assert made.alise_tunable.state()["preemptions_total"]["forced"] == len(made.preempted_in_order)


def test_tokens_found_again_are_told_from_those_computed_anew(module: Any) -> None:
    made = scheduler(module, slots=1, cached_tokens=16)
    made.add_request(predicted("long", 1_000))
    run(made, 20)
    made.add_request(predicted("short", 5))
    run(made, 8)

    state = made.alise_tunable.state()
    # 10 of the prompt and 20 less the newest were in memory.
    assert (
        state["resumed_total"],
        state["restored_tokens_total"],
        state["recomputed_tokens_total"],
    ) == (1, 16, 13)


def test_a_preempted_request_can_be_aborted(module: Any) -> None:
    made = scheduler(module, slots=1)
    long, short = predicted("long", 1_000), predicted("short", 5)
    made.add_request(long)
    run(made, 20)
    made.add_request(short)
    made.schedule()
    assert long.status is Status.PREEMPTED

    made.finish([long])
    run(made)
    made.schedule()

    assert not made._preempted
    assert not made.waiting
    assert made.alise_tunable.state()["resumed_total"] == 0


def test_a_request_that_cannot_run_yet_takes_nobody_s_place(module: Any) -> None:
    made = scheduler(module, slots=1)
    made.add_request(predicted("long", 1_000))
    run(made, 20)
    blocked = predicted("blocked", 5, status=Status.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR)
    made.add_request(blocked)
    made.schedule()
    assert made.preempted_in_order == []

    # Somebody behind it can; it comes up as soon as it is able to.
    made.add_request(predicted("short", 8))
    made.schedule()
    assert made.preempted_in_order == ["long"]
    blocked.status = Status.WAITING
    assert run(made) == ["short", "blocked", "long"]


@pytest.mark.parametrize("fields", [{"is_prefill_chunk": True}, {"resumable": True}])
def test_some_running_requests_stay(module: Any, fields: dict[str, bool]) -> None:
    made = scheduler(module, slots=1)
    made.add_request(predicted("long", 1_000, **fields))
    run(made, 20)
    made.add_request(predicted("short", 5))
    made.schedule()

    assert made.preempted_in_order == []


def test_nobody_gives_way_while_nothing_new_may_start(module: Any) -> None:
    made = scheduler(module, slots=1)
    made.add_request(predicted("long", 1_000))
    run(made, 20)
    made.add_request(predicted("short", 5))
    made._pause_state = Pause.PAUSED_NEW
    made.schedule()
    made._pause_state = Pause.UNPAUSED
    made.max_num_active_reqs = 0
    made.schedule()

    assert made.preempted_in_order == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30),
            st.integers(1, 200),
            st.integers(1, 60),
            st.integers(0, 2),
            st.sampled_from([None, {}, {"alise_p50": -1}, {"alise_p50": "x"}, "right", "wrong"]),
            st.none() | st.integers(0, 100),
        ),
        min_size=1,
        max_size=25,
    ),
    st.sampled_from(["srpt", "mlfq", "tool-aware", "fcfs"]),
    st.integers(1, 4),
    st.integers(17, 40),
)
def test_whatever_arrives_and_leaves_nothing_is_lost(
    module: Any, arrivals: list[Any], policy: str, slots: int, blocks: int
) -> None:
    made = scheduler(module, {"policy": policy}, slots=slots, blocks=blocks, cached_tokens=5)
    leaving: list[tuple[int, FakeRequest]] = []
    expected, ended, step = set(), list[str](), 0
    for number, (gap, tokens, prompt, rank, extra, leaves) in enumerate(arrivals):
        for _ in range(gap):
            step += 1
            ended += one_step(made, leaving, step)
        request = FakeRequest(str(number), prompt, tokens, said(extra, tokens, rank))
        made.add_request(request)
        if leaves is None:
            expected.add(request.request_id)
        else:
            leaving.append((step + leaves, request))
    while made.requests:
        step += 1
        ended += one_step(made, leaving, step)
        assert step < STEPS
    made.schedule()

    assert len(ended) == len(set(ended))
    assert expected <= set(ended)
    assert not made._preempted
    assert not made.waiting
    assert made.kv_cache_manager.get_num_free_blocks() == blocks
    assert made.alise_tunable.state()["waiting_by_class"] == {}


def said(kind: Any, tokens: int, rank: int) -> object:
    """What a request says of itself: the truth, the contrary, nothing, or something of no use."""
    if kind is None:
        return None
    told = {"right": {"alise_p50": tokens}, "wrong": {"alise_p50": 1_000 - tokens}}
    return {**(told[kind] if isinstance(kind, str) else kind), "alise_class": rank}


def one_step(made: Any, leaving: list[tuple[int, FakeRequest]], step: int) -> list[str]:
    gone = [
        request
        for at, request in leaving
        if at <= step and request.status < Status.FINISHED_STOPPED
    ]
    made.finish(gone)
    made.schedule()
    return [request.request_id for request in made.generated()]


@pytest.mark.parametrize("version", ["0.31.0", "0.33.0+cpu"])
def test_another_version_of_vllm_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    install(monkeypatch, version)

    with pytest.raises(ConfigError, match=r"tested with vLLM 0\.32\.0 and this is") as caught:
        importlib.import_module(MODULE)

    assert "\n" not in str(caught.value)


def test_without_a_vllm_that_has_the_interface_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setitem(sys.modules, "vllm.version", None)

    with pytest.raises(ConfigError, match=r"runs inside vLLM 0\.32") as caught:
        importlib.import_module(MODULE)

    assert "\n" not in str(caught.value)


def test_a_tier_is_told_how_long_each_request_will_wait(module: Any) -> None:
    tier = SimpleNamespace(waits=SimpleNamespace(expected=None), swaps=Swaps())
    made = scheduler(module, slots=1, connector=SimpleNamespace(tier=tier))
    for name, tokens in (("runs", 10), ("last", 900), ("next", 200), ("then", 500)):
        made.add_request(predicted(name, tokens))
        made.schedule()
    waits = {name: tier.waits.expected(name) for name in ("runs", "next", "then", "last")}
    assert waits["runs"] == waits["next"] == 0.0
    assert 0.0 < waits["then"] < waits["last"]
    assert tier.waits.expected("gone") is None

    made.finish([made.requests["then"]])
    before = waits["last"]
    assert tier.waits.expected("last") == before, "once a step"
    made.schedule()
    assert tier.waits.expected("last") < before


class FakeHostTier:
    """Has the KV of whoever was preempted, and loads by the rule of ``ewt``."""

    def __init__(self) -> None:
        self.swaps = Swaps()
        self.tier = SimpleNamespace(waits=SimpleNamespace(expected=None), swaps=self.swaps)
        self.loaded: list[str] = []

    def get_num_new_matched_tokens(
        self, request: FakeRequest, computed: int
    ) -> tuple[int | None, bool]:
        if not request.num_output_tokens:
            return 0, False
        if self.swaps.hold():
            return None, False
        self.loaded.append(request.request_id)
        return 16, True

    def build_connector_meta(self, output: object) -> None:
        self.swaps.step_ends()


def test_nothing_is_loaded_in_a_step_in_which_somebody_gave_way(module: Any) -> None:
    connector = FakeHostTier()
    made = scheduler(module, slots=1, connector=connector)
    for name, tokens, rank in (("middle", 100, 1), ("better", 1_000, 0), ("last", 300, 1)):
        extra = {"alise_p50": tokens, "alise_class": rank}
        made.add_request(FakeRequest(name, max_tokens=tokens, extra=extra))
        run(made, 20)
    assert made.preempted_in_order == ["middle"]

    made.requests["better"].alise_work.rank = 2
    while made.preempted_in_order == ["middle"]:
        made.generated()
        made.schedule()
    assert made.preempted_in_order == ["middle", "better"]
    assert connector.loaded == []
    assert made.running == [], "the place is kept for whom it was made"
    assert made.max_num_active_reqs == 1

    made.schedule()
    assert connector.loaded == ["middle"]
    assert connector.swaps.held == 1
    assert [each.request_id for each in made.running] == ["middle"]


def test_without_a_tier_nobody_is_told(module: Any) -> None:
    assert scheduler(module, connector=SimpleNamespace()).alise_wait_seconds("a") is None
