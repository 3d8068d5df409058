"""The tuner with engines that answer as the plugin does."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import pytest

from alise_cluster.pods import PodState
from alise_core.crds.base import SecretRef
from alise_core.crds.conditions import ConditionStatus, ConditionType
from alise_core.crds.governing import PoolRef
from alise_core.crds.names import Kind
from alise_operator.decide.pods import Pod
from alise_operator.decide.tuning import TuningReport
from alise_operator.tending import TendedPool
from alise_operator.tuning.decide import decide
from alise_operator.tuning.engines import Engines
from alise_operator.tuning.memory import TunerMemory
from alise_operator.tuning.observed import DemandObserved
from alise_operator.tuning.recording import Look, decided_of, line_of, look_of
from alise_operator.tuning.tender import KvTuner
from fakes.clock import FakeClock
from fakes.custom_objects import a_policy, stored
from fakes.tuned_engine import CHUNK, TOKEN, EngineNet, TunedEngine

REF = PoolRef("ns", Kind.MODEL_POOL, "chat")
CAPACITY = 2 * 100 * 16
"""KV tokens of both engines."""
SPEC: dict[str, Any] = {
    "mode": "Auto",
    "activeRequests": {"min": 8},
    "hostTier": {"levels": ["none", "int8"], "evictionPolicies": ["lru", "ewt"]},
    "dtypes": {"platform": "cpu", "ladder": ["auto", "fp8"]},
}


def serving_pod(place: int, address: str) -> Pod:
    state = PodState(address, "Running", has_ready_condition=True)
    return Pod("ns", f"chat-{place}", f"uid-{place}", {}, state)


class Scene:
    """Two engines, the tuner, and what it reports."""

    def __init__(self, **spec: Any) -> None:
        self.clock = FakeClock()
        self.engines = (TunedEngine(), TunedEngine())
        self.net = EngineNet(e10_0_0_1=self.engines[0], e10_0_0_2=self.engines[1])
        self.published: list[TuningReport] = []
        self.told_before: list[int] = []
        self.tuner = self.make_tuner()
        policy = stored(Kind.KV_CACHE_POLICY, a_policy("kv", **{**SPEC, **spec}))
        pods = tuple(serving_pod(place, f"10.0.0.{place + 1}") for place in range(2))
        self.pool = TendedPool(REF, policy, pods, (8000,), admin_token=SecretRef(name="token"))

    def make_tuner(self) -> KvTuner:
        net = self.net
        engines = Engines(self.clock, 5.0, lambda: httpx.AsyncClient(transport=net))

        async def read_token(namespace: str, ref: SecretRef) -> str | None:
            return TOKEN if (namespace, ref.name) == ("ns", "token") else None

        return KvTuner(engines, read_token, self.clock, 10.0)

    async def publish(self, report: TuningReport) -> None:
        self.published.append(report)
        self.told_before.append(sum(len(engine.told) for engine in self.engines))

    async def look(self, times: int = 1) -> TuningReport:
        for _ in range(times):
            self.clock.advance(10)
            for engine in self.engines:
                engine.finished += 10
                engine.preemptions += 2 if engine.usage > 0.95 else 0
            report = await self.tuner.tend(self.pool, self.publish)
        return report

    def press(self, usage: float = 0.99, waiting: float = 20.0) -> None:
        for engine in self.engines:
            engine.usage, engine.waiting = usage, waiting


async def test_under_pressure_hot_knobs_are_turned_and_the_decision_is_on_record_first() -> None:
    scene = Scene()
    await scene.look(5)
    assert scene.published == []
    scene.press()

    await scene.look(3)

    caps = {engine.limits.max_num_active_reqs for engine in scene.engines}
    assert len(caps) == 1
    assert 8 <= caps.pop() < 64
    assert scene.told_before[0] == 0
    status = scene.published[0].status
    assert status.last_action is not None
    assert "active_requests 64 ->" in status.last_action.action
    assert status.rung.startswith("active_requests=")
    assert TOKEN not in status.model_dump_json()


async def test_it_relaxes_when_the_pressure_is_gone() -> None:
    scene = Scene()
    await scene.look(5)
    scene.press()
    await scene.look(3)
    scene.press(0.2, 0.0)

    report = await scene.look(80)

    assert {engine.limits.max_num_active_reqs for engine in scene.engines} == {64}
    assert report.status.rung == "base"


async def test_a_restarted_operator_goes_on_from_the_status() -> None:
    scene = Scene()
    await scene.look(5)
    scene.press()
    report = await scene.look(3)
    cap = scene.engines[0].limits.max_num_active_reqs
    scene.tuner = scene.make_tuner()
    line = report.status.model_dump(mode="json", by_alias=True)
    scene.pool = replace(scene.pool, standing=line)
    scene.engines[1].start()

    again = await scene.look()

    assert scene.engines[1].limits.max_num_active_reqs == cap
    assert again.status.last_action == report.status.last_action


async def test_recommend_tells_the_command_and_touches_nothing() -> None:
    scene = Scene(mode="Recommend")
    await scene.look(5)
    scene.press()

    report = await scene.look(3)

    assert [engine.told for engine in scene.engines] == [[], []]
    assert not [asked for asked in scene.net.asked if asked.startswith("POST")]
    assert report.status.last_action is not None
    assert report.status.last_action.action.startswith("recommended: active_requests")
    assert "kubectl -n ns exec chat-0" in str(report.status.last_action.command)


async def test_every_condition_says_why_it_is_so() -> None:
    report = await Scene().look()

    assert {found.type for found in report.findings} == {
        ConditionType.PROGRESSING,
        ConditionType.DEGRADED,
    }
    assert all(found.message for found in report.findings)


async def test_an_engine_that_refuses_is_told_of() -> None:
    scene = Scene()
    await scene.look(5)
    scene.press()
    for engine in scene.engines:
        engine.plugin = False  # from now on, as after a downgrade
    await scene.look(3)

    report = await scene.look()

    assert scene.engines[0].limits.max_num_active_reqs == 64
    degraded = next(found for found in report.findings if found.type is ConditionType.DEGRADED)
    told = degraded.status is ConditionStatus.TRUE or report.status.waiting_for
    assert told


async def test_an_endpoint_that_lies_is_found_out_by_reading_back() -> None:
    scene = Scene()
    await scene.look(5)
    scene.press()
    scene.engines[0].lies = True

    report = await scene.look(6)

    progressing = next(one for one in report.findings if one.type is ConditionType.PROGRESSING)
    assert progressing.status is ConditionStatus.TRUE
    assert "not as desired" in progressing.message
    assert scene.engines[1].limits.max_num_active_reqs < 64


@pytest.mark.parametrize("fault", ["silent", "foreign"])
async def test_figures_that_are_not_there_hold_it_still(fault: str) -> None:
    scene = Scene()
    await scene.look(5)
    scene.press()
    for engine in scene.engines:
        setattr(engine, fault, True)

    report = await scene.look(5)

    assert report.status.waiting_for.startswith("MetricsNotTrusted")
    assert [engine.told for engine in scene.engines] == [[], []]


async def test_a_paused_pool_is_left_alone() -> None:
    scene = Scene()
    scene.pool = replace(scene.pool, paused=True)
    scene.press()

    report = await scene.look(5)

    assert report.status.waiting_for.startswith("Paused")
    assert [engine.told for engine in scene.engines] == [[], []]


async def test_without_restarts_no_dtype_is_changed() -> None:
    scene = Scene(activeRequests={})
    await scene.look(5)
    scene.press()

    report = await scene.look(120)

    assert "cold" in report.status.memory
    assert '"cold":null' in report.status.memory
    assert report.status.rung in {"base", "replicas=4"} or "level" in report.status.rung


async def test_a_status_in_which_only_figures_move_is_not_written_every_time() -> None:
    scene = Scene()
    await scene.look(5)
    reports = []
    for place in range(6):
        scene.press(0.7 + place / 100, 0.0)
        reports.append(await scene.look())

    assert len({id(report.status) for report in reports}) <= 2


async def test_the_tier_is_packed_denser_when_it_drops_what_is_wanted() -> None:
    scene = Scene(activeRequests={})
    await scene.look(5)
    scene.press()
    for _ in range(12):
        for engine in scene.engines:
            engine.tier.store.counts.refused += 5
            engine.order.counts.recomputed_tokens += 100
        await scene.look(1)

    assert {engine.tier.settings.eviction for engine in scene.engines} == {"ewt"}
    assert {str(engine.tier.settings.level) for engine in scene.engines} == {"int8"}
    assert {engine.tier.settings.capacity_bytes for engine in scene.engines} == {20 * CHUNK}


async def test_demand_is_asked_for_by_the_models_that_engines_say_they_serve() -> None:
    scene = Scene(mode="Recommend")
    asked: list[Mapping[str, float]] = []

    async def predict(shares: Mapping[str, float]) -> DemandObserved:
        asked.append(shares)
        return DemandObserved(1.2 * CAPACITY, 1.3 * CAPACITY, 0.0)

    scene.tuner.predict = predict
    report = await scene.look(5)

    assert asked[-1] == {"m": 1.0}
    assert report.status.pressure == pytest.approx(1.2)


async def test_pools_of_one_model_each_get_their_part_of_its_demand() -> None:
    scene = Scene(mode="Recommend")
    asked: list[Mapping[str, float]] = []

    async def predict(shares: Mapping[str, float]) -> DemandObserved:
        asked.append(shares)
        peak = 2.4 * CAPACITY * shares["m"]
        return DemandObserved(peak, peak, 0.0)

    scene.tuner.predict = predict
    ref = PoolRef("ns", Kind.MODEL_POOL, "other")
    other = replace(scene.pool, ref=ref, pods=scene.pool.pods[:1])
    await scene.look(1)
    await scene.tuner.tend(other, scene.publish)

    report = await scene.look(4)

    assert asked[-1] == {"m": pytest.approx(2 / 3)}
    assert report.status.pressure == pytest.approx(1.6)

    scene.tuner.let_go(ref)
    await scene.look(1)
    assert asked[-1] == {"m": 1.0}


async def test_demand_that_cannot_be_shared_is_left_out() -> None:
    scene = Scene(mode="Recommend")
    asked: list[Mapping[str, float]] = []

    async def predict(shares: Mapping[str, float]) -> DemandObserved:
        asked.append(shares)
        return DemandObserved(9e9, 9e9, 0.0)

    scene.tuner.predict = predict
    other = replace(scene.pool, ref=PoolRef("ns", Kind.MODEL_POOL, "other"))
    scene.engines[0].blocks = scene.engines[1].blocks = "None"
    await scene.look(1)
    await scene.tuner.tend(other, scene.publish)
    asked.clear()

    report = await scene.look(4)

    assert asked == []
    assert report.status.pressure == pytest.approx(0.5)
    assert "whose KV memory" in report.status.notes[0]


async def test_replicas_are_asked_for_when_nothing_else_is_left() -> None:
    scene = Scene(activeRequests={}, hostTier={"levels": ["none"], "evictionPolicies": ["lru"]})
    calm = await scene.look(5)
    assert calm.status.wanted_replicas == 0
    scene.press()

    report = await scene.look(20)

    assert report.status.wanted_replicas > 2
    assert report.status.rung == f"replicas={report.status.wanted_replicas}"
    assert report.pressure is not None
    assert any(line.startswith("level: ") for line in report.status.considered)
    assert report.status.decision


async def test_every_look_is_recorded_with_what_was_known_and_decided() -> None:
    scene, looks = Scene(), []

    async def note(look: Look) -> None:
        looks.append(look)

    scene.tuner.record = note
    await scene.look(5)
    scene.press()
    await scene.look(3)

    assert len(looks) == 8
    assert looks[0].memory == TunerMemory()
    changed = [look for look in looks if look.decided.verdict == "change"]
    assert changed[0].decided.step.startswith("active_requests 64 -> ")
    lines = [line_of(look) for look in looks]
    assert TOKEN not in "".join(lines)
    for number, line in enumerate(lines, 1):
        look = look_of(line, number)
        again = decide(look.spec, look.observed, look.memory, look.at)
        assert decided_of(again) == look.decided


async def test_every_look_is_counted_and_told_when_it_is_decided_otherwise() -> None:
    scene = Scene()
    counted: list[tuple[str, str]] = []
    told: list[tuple[str, str, str]] = []
    scene.tuner.on_decided = lambda decided: counted.append((decided.verdict, decided.why))
    scene.tuner.on_news = lambda look: told.append(look.decided.essence)

    await scene.look(6)
    scene.press()
    await scene.look(2)

    assert len(counted) == 8
    assert counted[0] == ("hold", "MetricsNotTrusted")
    assert told[0][:2] == counted[0]
    assert told[1][:2] == ("hold", "AtBase")
    changed = next(one for one in told if one[0] == "change")
    assert changed[1] == "Pressure"
    assert changed[2].startswith("active_requests 64 -> ")
    assert len(told) == len([None for a, b in pairwise([None, *counted]) if a != b])


async def test_of_many_commands_those_that_fit_are_told_whole() -> None:
    scene = Scene(mode="Recommend")
    pods = tuple(serving_pod(place, f"10.0.0.{place % 2 + 1}") for place in range(12))
    scene.pool = replace(scene.pool, pods=pods)
    await scene.look(5)
    scene.press()

    report = await scene.look(3)

    assert report.status.last_action is not None
    command = str(report.status.last_action.command)
    whole, _, rest = command.partition("  # and ")
    told = whole.split("; ")
    assert rest == f"{12 - len(told)} more, for the other pods"
    assert len(told) >= 3
    assert {one.rpartition(" ")[2] for one in told} == {"localhost:8000/alise/tune'"}
