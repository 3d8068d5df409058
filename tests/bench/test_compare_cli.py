"""``alise bench compare`` from the command line: the object that it prints, and what it refuses."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from alise_bench.compare.cli import main
from alise_core.errors import ConfigError

LATENCIES = ("ttft_s", "ttlt_s", "tpot_s", "normalized_latency_s_per_token")
STATS = {"mean", "p50", "p95", "p99"}


def lines(count: int = 40) -> list[dict[str, object]]:
    generator = random.Random(1)  # noqa: S311
    return [
        {
            "arrival_s": number * 0.1,
            "prompt": f"Question {number}",
            "output_tokens": generator.randint(1, 60),
            "tenant": "ab"[number % 2],
            "service_tier": "default",
        }
        for number in range(count)
    ]


def trace(folder: Path, requests: Sequence[dict[str, object]] | None = None) -> str:
    path = folder / "trace.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in requests or lines()))
    return str(path)


def compare(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--no-tier1", "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.slow
def test_a_trace_gives_the_documented_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(capsys, "--trace", trace(tmp_path), "--rows", "fcfs,default,oracle")
    assert set(found) == {"conditions", "rows"}
    assert [row["name"] for row in found["rows"]] == ["fcfs", "default", "oracle"]
    for row in found["rows"]:
        for part in (row, row["short_half"], row["longest_decile"]):
            assert all(set(part[latency]) == STATS for latency in LATENCIES)
        assert row["tokens_per_s"] > 0
        assert row["max_wait_s"] >= 0
        assert row["preemptions"] >= 0
        assert row["outcomes"] == {"completed": 40}
        assert row["rho"] == pytest.approx(1.0)


@pytest.mark.slow
def test_all_rows_are_the_documented_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(capsys, "--trace", trace(tmp_path, lines(8)))
    assert [row["name"] for row in found["rows"]] == [
        "direct-rr", "direct-least", "fcfs", "sjf", "rank", "cost", "boost", "tool-aware",
        "default", "oracle", "shuffled", "noise60",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_rate_scale_multiplies_the_traces_own_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trace(tmp_path)
    found = [
        compare(capsys, "--trace", path, "--rows", "direct-rr", "--rate-scale", scale)
        for scale in ("1", "2")
    ]
    slow, fast = (item["rows"][0]["rho"] for item in found)
    assert fast == pytest.approx(2 * slow, rel=1e-5), "six digits are shown"
    assert found[1]["conditions"]["rate_scale"] == [2.0]


def test_a_trace_of_one_moment_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trace(tmp_path, [line | {"arrival_s": 7} for line in lines(5)])
    found = compare(capsys, "--trace", path, "--rows", "fcfs")
    assert found["rows"][0]["rho"] is None
    assert found["rows"][0]["outcomes"] == {"completed": 5}


def test_long_requests_are_cut_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trace(tmp_path, [*lines(5), lines(1)[0] | {"output_tokens": 9_000}])
    conditions = compare(capsys, "--trace", path, "--rows", "fcfs")["conditions"]
    assert conditions["cut_to_context"] == 1
    assert any("cut to the 2048 tokens" in warning for warning in conditions["warnings"])


def test_a_part_of_the_prompts_is_learned_from_and_not_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("--workload", "mixed", "--requests", "20", "--pods", "1", "--rows", "default")
    cold = compare(capsys, *arguments)
    taught = compare(capsys, *arguments, "--study-share", "0.5")
    assert "learned_from" not in cold["conditions"]
    learned = taught["conditions"]["learned_from"]
    assert learned > 100
    said = f"predictors have learned from {learned} answers to other prompts"
    assert any(said in warning for warning in taught["conditions"]["warnings"])


def test_without_a_data_directory_the_sample_is_taken_and_the_conditions_warn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("--profile", "a100", "--workload", "mixed", "--requests", "20", "--pods", "1")
    found = compare(capsys, *arguments, "--rows", "direct-least", "--rho", "0.5,1.0")
    assert [row["rho"] for row in found["rows"]] == [0.5, 1.0]
    warnings = " ".join(found["conditions"]["warnings"])
    assert "no data directory was named" in warnings
    assert "trained on most of these" in warnings
    assert found["conditions"]["profile"] == "a100"


@pytest.mark.slow
def test_documents_and_pictures_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("--trace", trace(tmp_path, lines(8)), "--rows", "fcfs,default")
    printed = compare(capsys, *arguments, "--rho", "0.5,1", "--out", str(out))
    assert json.loads((out / "compare.json").read_bytes()) == printed
    text = (out / "compare.md").read_text()
    assert "compare-load.svg" in text
    assert "rho 0.5, 8 requests" in text
    assert "| 0.5 | fcfs | 1.00 |" in text
    assert (out / "compare-load.svg").read_text().startswith("<?xml")


@pytest.mark.slow
def test_without_json_a_table_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--trace", trace(tmp_path, lines(8)), "--rows", "fcfs", "--no-tier1"]) == 0
    printed = capsys.readouterr().out
    assert "rho 1, 8 requests, 1 seed" in printed
    assert "fcfs" in printed


@pytest.mark.slow  # the predictor is opened before the file is read
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rows", "fcfs,fastest"], "--rows: there is no row 'fastest'"),
        (["--engine", "tgi"], "--engine: there is no engine 'tgi'; there are sim"),
        (["--profile", "b200"], "--profile: there is no profile 'b200'; there are a100"),
        (["--pods", "0"], "--pods: 0 is not at least 1"),
        (["--seeds", "0"], "--seeds: 0 is not at least 1"),
        (["--requests", "0"], "--requests: 0 is not at least 1"),
        (["--rho", "1,none"], "--rho: 'none' is no number more than 0"),
        (["--cv", "0"], "--cv: 0 is not more than 0"),
        (["--study-share", "1"], "--study-share: 1 is not from 0 to less than 1"),
        (["--workload", "poems"], "--workload: there is no 'poems'"),
        (["--arrivals", "never"], "--arrivals: there is no 'never'"),
        (["--workload", "chat"], "needs a data directory"),
        (["--rate-scale", "2"], "--rate-scale 2 scales a --trace"),
        (["--trace", "absent.jsonl"], "absent.jsonl: cannot be read"),
        (["--trace", "x", "--workload", "mixed"], "--workload mixed makes requests"),
        (["--trace", "x", "--rate-scale", "0"], "--rate-scale: 0 is not more than 0"),
        (["--trace", "x", "--rate-scale", "2", "--rho", "1"], "give one of them"),
        (["--suite"], "name their folder with --out"),
        (["--suite", "--out", "x", "--rows", "fcfs"], "--rows fcfs does not go with --suite"),
    ],
)
def test_what_is_wrong_is_refused_with_flag_and_value(arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        main(arguments)
