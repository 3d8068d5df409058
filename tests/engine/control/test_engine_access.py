"""The way into the engine against vLLM's interface in miniature; ``e2e/vllm`` has the real one."""

import asyncio
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from alise_core.errors import ConfigError
from alise_vllm.control import engine_access
from alise_vllm.control.engine_access import PLAN, STATE, TUNE, EngineSilent, ask, register
from alise_vllm.tunable import Json
from architecture.repository import pyproject


class Knob:
    """One number."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: object = 0

    def state(self) -> Mapping[str, Json]:
        return {"value": self.value}

    def plan(self, changes: Mapping[str, object]) -> Callable[[], Mapping[str, Json]]:
        if set(changes) != {"value"} or changes["value"] == "wrong":
            raise ConfigError("'value' is the only key; it takes anything but 'wrong'")

        def apply() -> Mapping[str, Json]:
            before, self.value = self.value, changes["value"]
            return {"value": [before, self.value]}

        return apply


class FakeScheduler:
    max_num_running_reqs = 8

    def get_request_counts(self) -> tuple[int, int]:
        return 3, 5

    def get_kv_cache_usage(self) -> float:
        return 0.25


class FakeEngineCore:
    """Calls utilities by their name, as vLLM's does."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler


class FakeClient:
    """One API server's view of its engines."""

    def __init__(self, *cores: Any) -> None:
        self.cores = cores

    @property
    def engine_core(self) -> "FakeClient":
        return self

    async def call_utility_all_async(self, method: str, *args: str) -> list[str]:
        return [getattr(core, method)(*args) for core in self.cores]


@pytest.fixture(autouse=True)
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngineCore]:
    core: Any = ModuleType("vllm.v1.engine.core")
    core.EngineCore = type("EngineCore", (FakeEngineCore,), {})
    for name in ("vllm", "vllm.v1", "vllm.v1.engine"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.core", core)
    register()
    register()
    found: type[FakeEngineCore] = core.EngineCore
    return found


def scheduler(**attributes: Any) -> Any:
    made = FakeScheduler()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


async def test_stock_vllm_shows_its_scheduler(vllm: type[FakeEngineCore]) -> None:
    assert await ask(FakeClient(vllm(FakeScheduler())), STATE) == [
        {
            "core": {
                "scheduler": "FakeScheduler",
                "running": 3,
                "waiting": 5,
                "max_running": 8,
                "max_active": None,
                "kv_cache_usage_ratio": 0.25,
                "changes_total": 0,
                "change_seconds_total": 0.0,
                "longest_change_seconds": 0.0,
            }
        }
    ]


async def test_parts_are_found_where_they_live(vllm: type[FakeEngineCore]) -> None:
    manager = SimpleNamespace(alise_tunable=Knob("manager"))
    half = SimpleNamespace(alise_tunable=Knob("half"), manager=manager)
    inner = SimpleNamespace(connector_scheduler=half)
    connector = SimpleNamespace(alise_tunable=Knob("connector"), _connectors=[inner])
    engine = vllm(scheduler(alise_tunable=Knob("scheduler"), connector=connector))

    (state,) = await ask(FakeClient(engine), STATE)
    assert list(state) == ["core", "scheduler", "connector", "half", "manager"]


async def test_a_plan_changes_nothing_and_a_tune_does(vllm: type[FakeEngineCore]) -> None:
    knob = Knob("scheduler")
    client = FakeClient(vllm(scheduler(alise_tunable=knob)))
    changes = json.dumps({"scheduler": {"value": 2**70}})

    assert await ask(client, PLAN, changes) == [{"changed": {}}]
    assert knob.value == 0
    assert await ask(client, TUNE, changes) == [{"changed": {"scheduler": {"value": [0, 2**70]}}}]
    assert knob.value == 2**70


async def test_a_refusal_is_an_answer(vllm: type[FakeEngineCore]) -> None:
    client = FakeClient(vllm(scheduler(alise_tunable=Knob("scheduler"))))

    (answer,) = await ask(client, TUNE, json.dumps({"scheduler": {"value": "wrong"}}))
    assert answer["param"] == "scheduler.value"
    (answer,) = await ask(client, TUNE, json.dumps({"core": {"running": 0}}))
    assert answer["refused"] == "core: 'running' cannot be changed; 'core' is there to be looked at"
    assert await ask(client, TUNE, json.dumps({"core": {}})) == [{"changed": {"core": {}}}]


async def test_what_changes_cost_is_seen(vllm: type[FakeEngineCore]) -> None:
    client = FakeClient(vllm(scheduler(alise_tunable=Knob("scheduler"))))
    for value in (1, 2, "wrong"):
        await ask(client, TUNE, json.dumps({"scheduler": {"value": value}}))
    await ask(client, PLAN, json.dumps({"scheduler": {"value": 3}}))

    (state,) = await ask(client, STATE)
    core = state["core"]
    assert core["changes_total"] == 3, "a plan is none"
    assert 0 < core["longest_change_seconds"] <= core["change_seconds_total"]


@pytest.mark.parametrize("failure", [RuntimeError("dead"), KeyError(), asyncio.InvalidStateError()])
async def test_whatever_vllm_raises_is_silence(failure: Exception) -> None:
    class Dead:
        engine_core: Any

        async def call_utility_all_async(self, method: str, *args: str) -> list[str]:
            raise failure

    dead = Dead()
    dead.engine_core = dead
    with pytest.raises(EngineSilent, match=str(failure) or type(failure).__name__):
        await ask(dead, STATE)


async def test_an_engine_that_takes_too_long_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_access, "LONGEST_STEP_SECONDS", 0.001)

    class Busy:
        engine_core: Any

        async def call_utility_all_async(self, method: str, *args: str) -> list[str]:
            await asyncio.Event().wait()
            raise AssertionError

    busy = Busy()
    busy.engine_core = busy
    with pytest.raises(EngineSilent, match=r"no answer within 0\.001 s"):
        await ask(busy, STATE)


def test_a_vllm_without_the_engine_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.core", None)
    register()

    assert "needs EngineCore as vLLM 0.32 has it" in caplog.text


@pytest.mark.parametrize("group", ["vllm.general_plugins", "vllm.endpoint_plugins"])
def test_what_vllm_is_told_to_load_exists(group: str) -> None:
    module, _, name = pyproject()["project"]["entry-points"][group]["alise"].partition(":")

    assert callable(getattr(importlib.import_module(module), name))
