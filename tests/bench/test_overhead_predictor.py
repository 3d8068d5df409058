"""What predicting adds: the gateway with its predictor against itself without, round by round."""

import json
from pathlib import Path

import msgspec
import pytest

from alise_bench.load.distribution import Spread
from alise_bench.overhead.conditions import bundle_name, target_version
from alise_bench.overhead.figures import Figure, difference, memory_added_mib
from alise_bench.overhead.report import render
from alise_bench.overhead.results import Memory, Results, decode
from alise_bench.overhead.runner import missing_reason
from alise_bench.overhead.tables import predictor_table
from alise_bench.overhead.targets import BY_NAME, Place
from fakes.overhead_results import MIB, results, row
from fakes.predictor_bundle import flip_byte, tiny_bundle

PUBLISHED = Path(__file__).parents[2] / "docs/results/overhead.json"
WITH = BY_NAME["alise-predictor"]


@pytest.fixture
def measured() -> Results:
    found = results(
        row("alise", number=1, cpu=100.0),
        row("alise-predictor", number=1, cpu=150.0),
        row("alise", number=2, cpu=300.0),
        row("alise-predictor", number=2, cpu=330.0),
        row("alise", "c1_1k", p50=0.20),
        row("alise-predictor", "c1_1k", p50=0.25),
    )
    memory = [Memory(1, "alise", 40 * MIB, 70 * MIB), Memory(1, WITH.name, 90 * MIB, 130 * MIB)]
    return msgspec.structs.replace(found, memory=memory)


def test_differences_are_taken_round_by_round(measured: Results) -> None:
    added = difference(measured, WITH.name, "alise", "c64_1k", Figure.CPU_US)
    assert added is not None
    assert [added.low, added.high, added.count] == pytest.approx([30, 50, 2])
    assert difference(measured, WITH.name, "alise", "s256", Figure.CPU_US) is None


def test_added_memory_needs_both_in_one_round(measured: Results) -> None:
    assert memory_added_mib(measured, WITH.name, "alise") == (
        Spread(50, 50, 50, 1),
        Spread(60, 60, 60, 1),
    )
    later = [msgspec.structs.replace(measured.memory[1], round=2), measured.memory[0]]
    apart = msgspec.structs.replace(measured, memory=later)
    assert memory_added_mib(apart, WITH.name, "alise") == (None, None)


def test_the_document_shows_both_their_ratio_and_the_difference(measured: Results) -> None:
    text = render(measured)
    assert "## The length predictor" in text
    assert (
        "| CPU us per 1 KiB request | 200 [100 - 300] | 240 [150 - 330] | 1.30 [1.10 - 1.50] "
        "| 40.0 [30.0 - 50.0] |"
    ) in text
    assert "| median ms, 1 client, 1 KiB | 0.200 | 0.250 | 1.25 | 0.050 |" in text
    assert "| idle RSS, MiB | 40.0 | 90.0 | - | 50.0 |" in text
    assert "length predictor off" in text


def test_a_run_without_the_predictor_has_no_such_table() -> None:
    found = results(row("alise"), row("smg"))
    assert predictor_table(found) is None
    assert "## The length predictor" not in render(found)


def test_the_published_document_is_that_of_the_published_figures() -> None:
    document = PUBLISHED.with_suffix(".md").read_text(encoding="utf-8")
    assert render(decode(PUBLISHED.read_bytes())) == document


def place(folder: Path, bundle: Path | None) -> Place:
    return Place(("http://127.0.0.1:1", "http://127.0.0.1:2"), 3, 4, folder, folder, bundle)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("alise", False), ("alise-keys", False), ("alise-predictor", True)],
)
def test_only_one_of_our_targets_predicts(name: str, expected: bool, tmp_path: Path) -> None:
    launch = BY_NAME[name].launch
    assert launch is not None
    command = launch(place(tmp_path, None)).command
    settings = json.loads(Path(command[command.index("--config") + 1]).read_text())
    assert settings == {"predictor": {"enabled": expected}}
    assert BY_NAME[name].predicts is expected


def test_a_bundle_of_one_s_own_is_measured_and_named(tmp_path: Path) -> None:
    directory = tmp_path / "bundle"
    tiny_bundle(directory)
    assert WITH.launch is not None
    WITH.launch(place(tmp_path, directory))
    settings = json.loads((tmp_path / "gateway.yaml").read_text())
    assert settings["predictor"]["bundle_dir"] == str(directory)
    assert missing_reason(WITH, tmp_path, directory) == ""
    assert target_version(WITH, tmp_path, directory).endswith(", bundle tiny 1")


def test_without_a_usable_bundle_the_predictor_is_missing_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "bundle"
    tiny_bundle(directory)
    flip_byte(directory / "tier0.onnx")
    assert bundle_name(directory) is None
    assert "no usable predictor bundle" in missing_reason(WITH, tmp_path, directory)
    assert str(tmp_path) not in missing_reason(WITH, tmp_path, directory)
    assert missing_reason(BY_NAME["alise"], tmp_path, directory) == ""
