from dataclasses import replace

import pytest

from alise_core.crds.conditions import ConditionStatus, ConditionType, Reason
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import (
    DtypeSpec,
    KVCachePolicySpec,
    Platform,
    PoolTuningStatus,
    TuningMode,
)
from alise_core.crds.names import Kind
from alise_operator.decide.conditions import false, true
from alise_operator.decide.tuning import TuningReport
from alise_operator.tuning.memory import TunerMemory
from alise_operator.tuning.plan import Plan, Verdict, Why
from alise_operator.tuning.restart_reports import restarting, with_restarts
from alise_operator.tuning.restarts import Moved, Standing

HEALTHY = false(ConditionType.DEGRADED, Reason.HEALTHY, "well")
IDLE = false(ConditionType.PROGRESSING, Reason.IDLE, "calm")
REPORT = TuningReport(
    PoolRef("ns", Kind.MODEL_POOL, "chat"), PoolTuningStatus(name="chat"), (IDLE, HEALTHY)
)
AUTO = KVCachePolicySpec(
    mode=TuningMode.AUTO, dtypes=DtypeSpec(platform=Platform.CPU, ladder=("auto", "fp8"))
)


def plan(why: Why) -> Plan:
    return Plan(Verdict.CONVERGE, why, "the tuner's words", TunerMemory())


@pytest.mark.parametrize(
    ("why", "moved", "said"),
    [
        (Why.CANARY, Moved("one pod gets it"), (Why.CANARY, "one pod gets it")),
        (Why.CANARY, Moved("a budget", waits=True), (Why.WAITING, "a budget")),
        (Why.CANARY, Moved(), (Why.CANARY, "the tuner's words")),
        (Why.NO_PRESSURE, Moved("all have it"), (Why.NO_PRESSURE, "the tuner's words")),
        (Why.ROLLING_BACK, Moved("taken back", degraded=True), (Why.ROLLING_BACK, "taken back")),
        (Why.ROLLING_BACK, Moved("all are as before"), (Why.ROLLING_BACK, "the tuner's words")),
    ],
)
def test_a_change_under_way_is_told_by_who_carries_it_out(
    why: Why, moved: Moved, said: tuple[Why, str]
) -> None:
    told = restarting(plan(why), moved)
    assert (told.why, told.message) == said


@pytest.mark.parametrize(
    ("stands", "moved", "reason", "message"),
    [
        (Standing(), Moved("back", degraded=True, looked=True), Reason.ROLLED_BACK, "back"),
        (Standing(), Moved(problem="forbidden"), Reason.BLOCKED, "forbidden"),
        (Standing(held="until noon"), Moved(), Reason.ROLLED_BACK, "until noon"),
        (
            Standing(obstacle="Flux"),
            Moved(),
            Reason.BLOCKED,
            "what restarts pods is not changed here: Flux",
        ),
        (Standing(), Moved(), Reason.HEALTHY, "well"),
    ],
)
def test_what_is_wrong_is_a_condition(
    stands: Standing, moved: Moved, reason: Reason, message: str
) -> None:
    found = with_restarts(REPORT, stands, moved, AUTO, can=True).findings
    degraded = next(one for one in found if one.type is ConditionType.DEGRADED)
    assert (degraded.reason, degraded.message) == (reason, message)


def test_an_obstacle_is_none_where_no_dtype_is_to_be_changed() -> None:
    stands = Standing(obstacle="Flux")
    for spec, can in ((AUTO, False), (KVCachePolicySpec(mode=TuningMode.AUTO), True)):
        assert with_restarts(REPORT, stands, Moved(), spec, can=can).findings == (IDLE, HEALTHY)


def test_what_the_tuner_found_wrong_comes_first() -> None:
    worse = true(ConditionType.DEGRADED, Reason.BLOCKED, "an engine refuses")
    report = replace(REPORT, findings=(IDLE, worse))
    assert worse in with_restarts(report, Standing(held="x"), Moved(), AUTO, can=True).findings


def test_what_goes_on_without_the_tuner_is_progress() -> None:
    moved = Moved("2 of 3 pods have it", looked=True)
    found = with_restarts(REPORT, Standing(), moved, AUTO, can=True).findings
    progressing = next(one for one in found if one.type is ConditionType.PROGRESSING)
    assert (progressing.status, progressing.reason) == (ConditionStatus.TRUE, Reason.ROLLING)
