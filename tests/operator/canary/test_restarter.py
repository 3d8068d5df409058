"""The tuner's wish carried out at a workload, over the tuner itself."""

import json

import pytest

from alise_core.crds.conditions import ConditionStatus, ConditionType, Reason
from alise_operator.canary.plan import State
from alise_operator.canary.record import RECORD_ANNOTATION
from alise_operator.decide.conditions import Finding
from alise_operator.decide.tuning import TuningReport
from fakes.canary_story import image, never_with_fp8
from fakes.restarted_pool import RestartedPool
from fakes.rolling_workload import Json

KINDS = ("Deployment", "StatefulSet")


def condition(report: TuningReport, kind: ConditionType) -> Finding:
    return next(found for found in report.findings if found.type is kind)


def is_degraded(report: TuningReport) -> bool:
    return condition(report, ConditionType.DEGRADED).status is ConditionStatus.TRUE


def rolled_out(report: TuningReport) -> bool:
    return report.status.rung == "dtype=fp8"


def settled(pool: RestartedPool) -> bool:
    annotation = pool.world.raw["metadata"]["annotations"].get(RECORD_ANNOTATION)
    return annotation is None or json.loads(annotation)["underway"] is None


def without_dtype(pool: RestartedPool) -> Json:
    spec: Json = json.loads(json.dumps(pool.world.spec))
    args = spec["template"]["spec"]["containers"][0]["args"]
    args[:] = [word for word in args if not word.startswith("--kv-cache-dtype")]
    return spec


@pytest.mark.parametrize("kind", KINDS)
async def test_under_pressure_one_pod_first_then_all_one_by_one(kind: str) -> None:
    pool = RestartedPool(kind)
    await pool.until_step(State.OBSERVING)
    assert sorted(pool.dtypes) == ["auto", "auto", "fp8"]

    await pool.until(rolled_out)
    await pool.look(2)

    assert pool.dtypes == ["fp8"] * 3
    assert pool.least_ready == 2
    assert settled(pool)
    assert without_dtype(pool) == json.loads(pool.before)
    assert pool.steps[-1] is State.DONE
    told = [reason for reason, _ in pool.events]
    order = ["Pressure", "CanaryStarting", "Observing", "Passed", "Rolling", "RolledOut"]
    assert [reason for reason in dict.fromkeys(told) if reason in order] == order
    passed = next(text for reason, text in pool.events if reason == "Passed")
    assert "mean log-probability loss 0.0000" in passed
    assert "ITL p90" in passed


async def test_a_dtype_that_is_misread_goes_back_and_is_held() -> None:
    pool = RestartedPool()
    pool.engines.misread = {"fp8"}

    back = await pool.until_step(State.ROLLING_BACK)
    assert condition(back, ConditionType.DEGRADED).reason is Reason.ROLLED_BACK
    assert "mean log-probability loss 4.3" in condition(back, ConditionType.DEGRADED).message
    await pool.until_step(State.ROLLED_BACK)
    after = await pool.look(10)

    assert pool.dtypes == ["auto"] * 3
    assert json.dumps(pool.world.spec, sort_keys=True) == pool.before
    assert pool.least_ready == 2
    assert is_degraded(after)
    held = condition(after, ConditionType.DEGRADED).message
    assert "failed 1 times, not again before 2025-06-15T" in held
    assert "mean log-probability loss 4.3" in held
    assert pool.steps.count(State.CANARY_STARTING) == 1

    # After the hold it is tried again, and held for twice as long.
    pool.clock.advance(3_600)
    await pool.until(lambda report: pool.steps.count(State.ROLLED_BACK) == 2)
    again = await pool.look(5)
    assert "failed 2 times" in condition(again, ConditionType.DEGRADED).message


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pod_that_never_starts_goes_back(kind: str) -> None:
    pool = RestartedPool(kind, starts=never_with_fp8)
    await pool.until_step(State.ROLLED_BACK)
    report = await pool.look(5)

    assert pool.world.ready == 3
    assert pool.dtypes == ["auto"] * 3
    assert "did not get ready within" in condition(report, ConditionType.DEGRADED).message
    assert settled(pool)


async def test_a_canary_that_cannot_be_probed_is_not_judged_and_says_why() -> None:
    pool = RestartedPool()
    pool.engines.refuses = True
    await pool.until_step(State.ROLLED_BACK)
    report = await pool.look(5)

    said = condition(report, ConditionType.DEGRADED).message
    assert "was not judged within" in said
    assert "its answers were not probed yet" in said
    assert pool.engines.probed == 0


async def test_a_budget_that_is_used_up_is_waited_for_without_an_end() -> None:
    pool = RestartedPool()
    budget: Json = {
        "metadata": {"name": "engines", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "engines"}}},
        "status": {"observedGeneration": 1, "disruptionsAllowed": 0},
    }
    pool.server.budgets = [budget]
    waiting = await pool.until(lambda report: report.status.waiting_for.startswith("Waiting"))
    assert "PodDisruptionBudget engines allows no disruption now" in waiting.status.waiting_for
    assert condition(waiting, ConditionType.PROGRESSING).reason is Reason.BLOCKED
    later = await pool.look(50)  # longer than a canary has

    assert later.status.waiting_for.startswith("Waiting")
    assert not is_degraded(later)
    assert pool.server.writes == []
    assert [reason for reason, _ in pool.events].count("Waiting") == 1

    budget["status"]["disruptionsAllowed"] = 1
    await pool.until(rolled_out)


async def test_recommend_tells_the_command_and_touches_nothing() -> None:
    pool = RestartedPool(mode="Recommend")
    report = await pool.until(lambda report: report.status.last_action is not None)
    await pool.look(50)

    assert report.status.last_action is not None
    command = str(report.status.last_action.command)
    assert command.startswith("kubectl -n x patch deployment/engines --type=json")
    assert '"path": "/spec/template/spec/containers/0/args/-"' in command
    assert pool.server.writes == []


async def test_an_operator_that_may_not_leaves_dtypes_alone() -> None:
    pool = RestartedPool(allowed=False)
    report = await pool.look(60)

    assert pool.server.writes == []
    assert '"cold":null' in report.status.memory
    assert not is_degraded(report)


async def test_who_keeps_the_fields_is_named_and_nothing_begins() -> None:
    pool = RestartedPool()
    pool.world.raw["metadata"]["labels"] = {"kustomize.toolkit.fluxcd.io/name": "apps"}
    report = await pool.look(60)

    assert pool.server.writes == []
    assert condition(report, ConditionType.DEGRADED).reason is Reason.BLOCKED
    assert "kustomize.toolkit.fluxcd.io/name" in condition(report, ConditionType.DEGRADED).message


async def test_a_permission_that_is_missing_is_named() -> None:
    pool = RestartedPool()
    pool.server.forbidden = {"PATCH"}
    report = await pool.until(is_degraded)

    degraded = condition(report, ConditionType.DEGRADED)
    assert degraded.reason is Reason.BLOCKED
    assert "may not change Deployment engines: cannot patch" in degraded.message


@pytest.mark.parametrize("what", ["pool", "pod"])
async def test_a_pause_keeps_a_change_from_going_on(what: str) -> None:
    pool = RestartedPool()
    await pool.until_step(State.OBSERVING)

    def pause(*, on: bool) -> None:
        if what == "pool":
            pool.paused = on
        else:
            pool.paused_pods = {pool.world.pods[0].name} if on else set()

    pause(on=True)
    await pool.look(3)
    standing, spec = pool.dtypes, json.dumps(pool.world.spec)
    await pool.look(50)  # longer than a canary has

    assert (pool.dtypes, json.dumps(pool.world.spec)) == (standing, spec)
    assert pool.steps[-1] is State.PAUSED
    pause(on=False)
    await pool.until(rolled_out)


@pytest.mark.parametrize("state", [State.CANARY_STARTING, State.OBSERVING, State.ROLLING])
async def test_an_edit_meanwhile_stays(state: State) -> None:
    pool = RestartedPool()
    await pool.until_step(state)
    pool.world.edit(image)
    await pool.until_step(State.ABANDONED)
    report = await pool.look(30)

    assert pool.world.container["image"] == "other"
    assert pool.dtypes == ["auto"] * 3
    assert settled(pool)
    assert "somebody changed the pod template" in condition(report, ConditionType.DEGRADED).message


async def test_a_dtype_that_somebody_sets_meanwhile_is_theirs() -> None:
    pool = RestartedPool()
    await pool.until_step(State.OBSERVING)

    def theirs(raw: Json) -> None:
        container = raw["spec"]["template"]["spec"]["containers"][0]
        container["args"] = ["m", "--kv-cache-dtype=fp8_e5m2"]

    pool.world.edit(theirs)
    await pool.until(lambda report: "UserChanged" in [reason for reason, _ in pool.events])
    await pool.look(30)

    assert pool.dtypes == ["fp8_e5m2"] * 3
    assert settled(pool)


async def test_turned_to_recommend_a_change_under_way_is_taken_back() -> None:
    pool = RestartedPool()
    await pool.until_step(State.OBSERVING)
    pool.spec["mode"] = "Recommend"
    await pool.until_step(State.ROLLED_BACK)
    await pool.look(5)

    assert json.dumps(pool.world.spec, sort_keys=True) == pool.before
    assert pool.world.ready == 3


async def test_a_memory_that_is_lost_takes_back_what_is_under_way() -> None:
    pool = RestartedPool()
    await pool.until_step(State.OBSERVING)
    pool.line = None
    pool.restart()
    await pool.until_step(State.ROLLED_BACK)

    assert settled(pool)
    assert json.dumps(pool.world.spec, sort_keys=True) == pool.before


async def test_it_goes_back_when_the_pressure_is_gone() -> None:
    pool = RestartedPool(pressure={"windowSeconds": 10, "horizonSeconds": 10})
    await pool.until(rolled_out)
    pool.engines.load = 0.1
    await pool.until(lambda report: pool.dtypes == ["auto"] * 3)
    await pool.look(5)

    assert settled(pool)
    assert pool.world.container["args"] == ["m", "--kv-cache-dtype=auto"]


async def ended(pool: RestartedPool, *, misread: bool) -> None:
    if misread:
        await pool.until(lambda report: is_degraded(report) and settled(pool))
    else:
        await pool.until(rolled_out)
    await pool.look(5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("misread", [False, True])
@pytest.mark.parametrize("early", [0, 1], ids=["after", "before"])
async def test_killed_at_any_write_it_converges(kind: str, early: int, *, misread: bool) -> None:
    whole = RestartedPool(kind, 2)
    whole.engines.misread = {"fp8"} if misread else set()
    await ended(whole, misread=misread)
    assert len(whole.server.writes) >= 3
    for place in [at - early for at in whole.server.wrote_at]:
        pool = RestartedPool(kind, 2)
        pool.engines.misread = whole.engines.misread
        await pool.killed_at(place)
        await ended(pool, misread=misread)

        assert settled(pool), place
        assert pool.dtypes == ["auto" if misread else "fp8"] * 2, place
        assert without_dtype(pool) == json.loads(pool.before), place
        assert pool.least_ready == 1, place
