"""``alise bench tuner --replay``: recorded looks, decided again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alise_bench.tuner.cli import main
from alise_bench.tuner.sketch import SketchedPool
from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.errors import ConfigError
from alise_operator.tuning.decide import decide
from alise_operator.tuning.memory import TunerMemory
from alise_operator.tuning.recording import Decided, Look, decided_of, line_of

START = 1_750_000_000.0
SPEC = KVCachePolicySpec.model_validate({"mode": "Auto", "activeRequests": {"min": 8}})
POLICY = "spec:\n  mode: Auto\n"
"""Without a cap, which is the first thing that SPEC does."""


def looks(count: int = 12) -> list[Look]:
    """A pool under pressure, as an operator records it."""
    pool, memory, found = SketchedPool.of(2, load=3.0), TunerMemory(), []
    for place in range(count):
        pool.tick()
        observed, now = pool.observe(), START + 20 * place
        plan = decide(SPEC, observed, memory, now)
        found.append(Look(now, SPEC, memory, observed, decided_of(plan)))
        memory = plan.memory
        pool.carry_out(plan.actions)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "looks.jsonl"
    path.write_text("".join(f"{line_of(look)}\n" for look in looks()), encoding="utf-8")
    return path


def test_the_same_version_decides_the_same(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--replay", str(file), "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["looks"], told["decided_the_same"]) == (12, 12)
    assert told["pools"] == ["models/chat"]
    assert told["told"][0]["now"]["step"].startswith("active_requests 200 -> ")


def test_a_line_that_is_still_being_written_is_left_out(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with file.open("a", encoding="utf-8") as growing:
        growing.write(line_of(looks(1)[0])[:100])

    assert main(["--replay", str(file), "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["looks"] == 12


def test_what_is_decided_otherwise_is_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = [replace(look, decided=Decided("hold", "Calm", "", "as it was")) for look in looks(2)]
    file.write_text("".join(f"{line_of(look)}\n" for look in others), encoding="utf-8")

    assert main(["--replay", str(file)]) == 0

    text = capsys.readouterr().out
    assert text.count("OTHER") == 2
    assert "models/chat: hold Calm" in text
    assert "2 looks at 1 pools: 0 the same, 2 otherwise" in text


def test_another_policy_decides_from_what_was_remembered_then(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")

    assert main(["--replay", str(file), "--policy", str(policy), "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["decided_the_same"] < 12
    assert not [one for one in told["told"] if one["now"]["step"].startswith("active_requests")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nonsense\n", "line 1"),
        (b"nonsense", "line 1"),
        (b"\xff\xfe", "it is no text"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_recording(
    tmp_path: Path, content: str | bytes | None, said: str
) -> None:
    path = tmp_path / "looks.jsonl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ConfigError, match=rf"--replay .*{said}"):
        main(["--replay", str(path)])


@pytest.mark.parametrize(
    ("content", "said"),
    [("spec: {mode: Never}", "mode"), ("[", "no YAML"), (None, "No such file")],
)
def test_a_policy_that_is_none(file: Path, tmp_path: Path, content: str | None, said: str) -> None:
    policy = tmp_path / "policy.yaml"
    if content is not None:
        policy.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match=rf"--policy .*{said}"):
        main(["--replay", str(file), "--policy", str(policy)])


def test_a_policy_goes_with_a_replay(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="goes with --replay"):
        main(["--policy", str(tmp_path)])
