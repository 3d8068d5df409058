"""Comparisons of what schedules inside an engine, without one: rows, bodies, command lines."""

import json
from pathlib import Path

import pytest

from alise_bench.compare.engine import EngineWish, usual_of
from alise_bench.compare.plugin import MODES, PluginEngine, make
from alise_bench.compare.rows import ENGINE_ROWS, ROWS, Knowledge, choose_rows
from alise_bench.compare.vllm_lengths import Told, chat_body
from alise_bench.vllm.command import Serving, vllm_command
from alise_bench.vllm.place import VllmPlace
from alise_bench.workloads.traces import TraceRow
from alise_core.errors import ConfigError

ITEM = TraceRow(arrival_s=0.0, output_tokens=123, prompt_tokens=1, prompt="why")


def test_every_row_has_a_server() -> None:
    assert list(MODES) == list(ENGINE_ROWS) == list(usual_of("plugin").rows)
    exact = [name for name, row in ENGINE_ROWS.items() if row.knowledge is Knowledge.EXACT]
    assert exact == ["oracle"]


def test_rows_are_those_of_the_engine() -> None:
    assert choose_rows(["default"], ENGINE_ROWS)[0] is not ROWS["default"]
    with pytest.raises(ConfigError, match="'boost'; there are vllm-fcfs, vllm-priority"):
        choose_rows(["boost"], ENGINE_ROWS)


@pytest.mark.parametrize("told", Told)
def test_a_request_says_what_it_is_told_to_and_not_its_true_length(told: Told) -> None:
    body = json.loads(chat_body(ITEM, "m", told.fields(40, 30)))
    assert "123" not in json.dumps(body)
    said = {key: body[key] for key in ("priority", "vllm_xargs") if key in body}
    assert (
        said
        == {
            Told.NOTHING: {},
            Told.PRIORITY: {"priority": 40},
            Told.HINTS: {"vllm_xargs": {"alise_p50": 40, "alise_p90": 40}},
        }[told]
    )


def test_a_servers_settings_stand_beside_the_lengths() -> None:
    mode = MODES["srpt"].variant
    place = VllmPlace(vllm="/env/bin/vllm", model="/env/model")
    serving = Serving(place, "m", Path("l"), Path("p"), mode.flags, settings=mode.settings)
    command = vllm_command(serving, 8000, 0)
    assert "--scheduler-cls=alise_vllm.scheduler.AliseScheduler" in command
    said = json.loads(command[command.index("--additional-config") + 1])
    assert said == {
        "alise": {"replay_file": "l", "scheduler": {"policy": "srpt", "recalibrate": False}}
    }


def test_only_chosen_rows_have_a_server_and_the_one_that_is_measured_by() -> None:
    place = VllmPlace(vllm="/env/bin/vllm", model="/env/model")
    modes = PluginEngine(place, tier1=False, rows=["default", "gateway"]).facts()["modes"]
    assert isinstance(modes, dict)
    assert list(modes) == ["vllm-fcfs", "default", "gateway"]


def test_several_engines_are_refused() -> None:
    with pytest.raises(ConfigError, match="--pods 2"):
        make(EngineWish("cpu", 2))
