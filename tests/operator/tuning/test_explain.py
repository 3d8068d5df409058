"""What stands in a status, explained."""

import json
from datetime import UTC, datetime

import pytest

from alise_core.crds.kv_cache_policy import KVCachePolicySpec, LastAction, PoolTuningStatus
from alise_operator.tuning.explain import Explanation, Subject, Wait, explain
from alise_operator.tuning.explain_text import lines_of
from alise_operator.tuning.memory import (
    Change,
    ColdChange,
    Direction,
    Hold,
    Phase,
    TunerMemory,
)
from alise_operator.tuning.settings import Knob, PoolSettings
from alise_operator.tuning.trend import Trend

NOW = 1_750_000_000.0
SPEC = KVCachePolicySpec.model_validate({"mode": "Auto"})
MEMORY = TunerMemory(
    desired=PoolSettings(active_requests=20, level="int8", eviction="ewt", dtype="auto"),
    base=PoolSettings(active_requests=64, level="none", eviction="lru", dtype="auto"),
    changes=(
        Change(NOW - 4_000, Knob.EVICTION, Direction.UP, "ewt"),
        Change(NOW - 20, Knob.LEVEL, Direction.UP, "int8"),
    ),
    hot_since=NOW - 300,
    holds=(Hold("fp8", NOW + 1_800, 2),),
    trend=Trend(0.9, 0.0, NOW - 12, NOW - 9_000),
)


def line(memory: TunerMemory = MEMORY, **more: object) -> PoolTuningStatus:
    values = {"name": "chat", "pressure": 0.95, "rung": "level=int8", "memory": memory.to_json()}
    return PoolTuningStatus.model_validate({**values, **more})


def explained(found: PoolTuningStatus, *conditions: dict[str, str]) -> Explanation:
    return explain(Subject("ns", "chat", "kv", conditions), SPEC, found, NOW)


def test_every_wait_says_what_it_is_for_and_how_long_it_lasts() -> None:
    found = explained(line())

    assert found.waits == (
        Wait("cooldown: before anything else changes", 40.0),
        Wait("level was turned up: before it is turned back", 580.0),
        Wait("fp8 failed 2 times: before it is tried again", 1_800.0),
    )
    assert (found.changes, found.most_changes) == (1, 6)
    assert found.hot_seconds == 300
    assert found.seen_seconds_ago == 12


def test_calm_says_what_is_given_back_when() -> None:
    memory = TunerMemory(
        desired=MEMORY.desired, base=MEMORY.base, calm_since=NOW - 100, regrets=((Knob.LEVEL, 1),)
    )

    waits = {wait.what: wait.left_seconds for wait in explained(line(memory)).waits}

    assert waits == {
        "calm: before active_requests is given back": 500.0,
        "calm: before eviction is given back": 500.0,
        "calm: before level is given back": 1_100.0,
    }


def test_lines_tell_the_story_with_the_command() -> None:
    action = LastAction(
        time=datetime.fromtimestamp(NOW - 20, UTC),
        action="level none -> int8",
        reason="requests are preempted",
        command="kubectl -n ns exec chat-0 -- sh -c true",
    )
    told = line(
        last_action=action,
        decision="hold: KV need 0.95 of capacity",
        waiting_for="CoolingDown: 40 s to go",
        considered=("dtype auto -> fp8 (2.00 times the KV cache; price: restarts): not hot long",),
        notes=("chat-1 was last heard 70 s ago",),
        wanted_replicas=5,
    )
    degraded = {"type": "Degraded", "status": "True", "reason": "Blocked", "message": "401"}

    text = "\n".join(lines_of(explained(told, degraded)))

    for part in (
        "ns/chat, under KVCachePolicy kv, mode Auto",
        "0.95 (room is made from 0.9 on, given back below 0.6), hot for 5 min",
        "CoolingDown: 40 s to go",
        "2.00 times the KV cache; price: restarts",
        "chat-1 was last heard",
        "5 are asked for",
        "level int8 (base none)",
        "kubectl -n ns exec chat-0",
        "Degraded=True (Blocked): 401",
        "30 min  fp8 failed 2 times",
    ):
        assert part in text, text
    assert "out of date" not in text


@pytest.mark.parametrize("text", ["", "nonsense", '{"changes": [[1]]}'])
def test_a_status_without_memory_is_explained_as_far_as_it_goes(text: str) -> None:
    found = explained(PoolTuningStatus(name="chat", memory=text))

    assert found.seen_seconds_ago is None
    assert found.waits == ()
    said = "\n".join(lines_of(found))
    assert "never: no figures of this pool have been trusted yet" in said
    assert "not known" in said


def test_a_status_that_is_old_is_called_so() -> None:
    memory = TunerMemory(trend=Trend(0.5, 0.0, NOW - 7_300, NOW - 9_000))

    text = "\n".join(lines_of(explained(line(memory))))

    assert "2.0 h ago" in text
    assert "out of date" in text


def test_a_change_that_restarts_pods_is_told_with_its_phase() -> None:
    cold = ColdChange("auto", "fp8", Phase.BACK, NOW - 90, 1, Direction.UP, "the canary failed")

    found = explained(line(TunerMemory(cold=cold)))

    assert found.under_way == (
        "dtype auto -> fp8, back for 90 s, 1 pods through; the canary failed"
    )
    assert any(part.startswith("under way dtype auto -> fp8") for part in lines_of(found))


def test_json_has_every_field() -> None:
    raw = json.loads(json.dumps(explained(line()).as_json()))

    assert set(raw) == set(Explanation.__dataclass_fields__)
    assert raw["settings"]["level"] == ["int8", "none"]
    assert raw["waits"][0]["left_seconds"] == 40.0
