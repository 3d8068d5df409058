"""Looks are written down, read back, and a full disk stops nothing."""

import json
from pathlib import Path

import pytest

from alise_bench.tuner.sketch import SketchedPool
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.tuning.decide import decide
from alise_operator.tuning.memory import TunerMemory
from alise_operator.tuning.observed import Doubt, DoubtKind, Observed, PodObserved
from alise_operator.tuning.recorder import Recorder
from alise_operator.tuning.recording import Look, NotRecorded, decided_of, line_of, look_of

NOW = 1_750_000_000.0
SPEC = KVCachePolicySpec.model_validate({"mode": "Auto", "activeRequests": {"min": 8}})


def a_look(load: float = 3.0, at: float = NOW) -> Look:
    pool = SketchedPool.of(2, load=load, demand=True)
    pool.tick()
    observed, memory = pool.observe(), TunerMemory(hot_since=at - 5)
    return Look(at, SPEC, memory, observed, decided_of(decide(SPEC, observed, memory, at)))


def test_a_look_survives_its_line() -> None:
    look = a_look()
    line = line_of(look)

    assert "\n" not in line
    assert look_of(line, 1) == look


def test_doubts_and_pods_that_were_never_heard_survive_too() -> None:
    pod = PodObserved("chat-0", doubts=(Doubt(DoubtKind.MISSING, "chat-0 has never answered"),))
    observed = Observed("ns", "chat", (pod,), no_demand="other pools serve m, too", paused=True)
    decided = decided_of(decide(SPEC, observed, TunerMemory(), NOW))
    look = Look(NOW, SPEC, TunerMemory(), observed, decided)

    assert look_of(line_of(look), 1) == look


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "line 7: the line"),
        ("{}", "line 7: at"),
        (line_of(a_look()).replace('"pods":[', '"pods":[3,'), r"line 7: observed\.pods\.0"),
        (line_of(a_look()).replace('"mode":"Auto"', '"mode":"Now"'), "line 7: mode"),
    ],
)
def test_a_line_that_is_none_is_named(line: str, said: str) -> None:
    with pytest.raises(NotRecorded, match=said):
        look_of(line, 7)


def times(file: Path) -> list[float]:
    return [json.loads(line)["at"] - NOW for line in file.read_text("utf-8").splitlines()]


async def test_the_file_is_begun_anew_when_it_is_full(tmp_path: Path) -> None:
    file = tmp_path / "looks.jsonl"
    told: list[str] = []
    line = len(line_of(a_look())) + 1
    recorder = Recorder(file, 3 * line, told.append)

    for place in range(7):
        await recorder.note(a_look(at=NOW + place))

    assert times(tmp_path / "looks.jsonl.1") == [3, 4, 5]
    assert times(file) == [6]
    assert told == []


async def test_what_cannot_be_written_is_left_out_and_said_once(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    told: list[str] = []
    recorder = Recorder(folder / "looks.jsonl", 1_000_000, told.append)

    await recorder.note(a_look())
    await recorder.note(a_look())
    assert [text.rpartition(": ")[2] for text in told] == ["No such file or directory"]

    folder.mkdir()
    await recorder.note(a_look(at=NOW + 1))
    assert times(folder / "looks.jsonl") == [1]
