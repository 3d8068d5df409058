"""``alise predictor``: what is printed, and what is said when something is wrong."""

import argparse
import json
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from alise_cli import main
from fakes.predictor_bundle import BundleOptions, flip_byte, tiny_bundle

KEYS = [
    *("n", "tau_b", "spearman", "pairwise_accuracy", "mae"),
    *("coverage_p50", "coverage_p90", "pinball", "latency_us"),
]
TRAINING = "alise_predictor.train.commands"


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    return str(tiny_bundle(tmp_path / "bundle").directory)


@pytest.fixture
def file(tmp_path: Path) -> str:
    words = ("write an essay", "list of cats", "why is the sea", "code in python")
    path = tmp_path / "requests.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {"prompt": f"{words[i % 4]} {i}", "model": "m", "output_tokens": 20 + 40 * (i % 4)}
            )
            + "\n"
            for i in range(120)
        )
    )
    return str(path)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """In place of the training commands: keeps what it is called with."""
    seen: list[argparse.Namespace] = []

    def keep(options: argparse.Namespace) -> int:
        seen.append(options)
        return 7

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", required=True)

    module = ModuleType(TRAINING)
    for name in ("train", "evaluate_all", "export"):
        setattr(module, name, keep)
    for name in ("add_train_arguments", "add_evaluate_arguments", "add_export_arguments"):
        setattr(module, name, add)
    monkeypatch.setitem(sys.modules, TRAINING, module)
    return seen


def test_evaluate_prints_exactly_the_promised_keys(bundle: str, file: str) -> None:
    found = _json("evaluate", "--file", file, "--bundle", bundle, "--json")

    assert list(found) == KEYS
    assert found["n"] == 120
    assert list(found["latency_us"]) == ["p50", "p99"]


def test_evaluate_adapt_adds_blocks(bundle: str, file: str) -> None:
    found = _json("evaluate", "--file", file, "--bundle", bundle, "--adapt", "--json")

    assert list(found) == [*KEYS, "blocks"]
    assert [list(block) for block in found["blocks"]] == [KEYS]
    assert found["mae"] < _json("evaluate", "--file", file, "--bundle", bundle, "--json")["mae"]


def test_a_delay_learns_later(bundle: str, file: str) -> None:
    words = ("evaluate", "--file", file, "--bundle", bundle, "--adapt", "--json")

    at_once, late = _json(*words), _json(*words, "--delay", "100")

    assert late["mae"] > at_once["mae"]


def test_evaluate_is_readable(bundle: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("evaluate", "--file", file, "--bundle", bundle, "--adapt") == 0

    shown = capsys.readouterr().out
    assert shown.startswith(
        f"{file}: 120 requests, 1 model\ntiny 1: tier 0, learning in file order"
    )
    assert "Kendall's tau-b" in shown
    assert "1-120" in shown


def test_evaluate_reads_standard_input(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'{"prompt": "tell me", "model": "m", "output_tokens": 5}\n'
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(line * 3)))

    assert _json("evaluate", "--file", "-", "--bundle", bundle, "--json")["n"] == 3


def test_evaluate_of_nothing_has_null_figures_and_says_so(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()

    assert _run("evaluate", "--file", str(empty), "--bundle", bundle, "--json") == 0

    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        **dict.fromkeys(KEYS),
        "n": 0,
        "latency_us": {"p50": None, "p99": None},
    }
    assert "has no requests" in shown.err


def test_details_say_what_was_evaluated(bundle: str, file: str, tmp_path: Path) -> None:
    out = tmp_path / "details.json"

    _json("evaluate", "--file", file, "--bundle", bundle, "--json", "--details", str(out))

    found = json.loads(out.read_text())
    assert found["bundle"] == {"name": "tiny", "version": "1"}
    assert (found["file"], found["tier"], found["adapt"]) == (file, 0, False)
    assert [row["model"] for row in found["models"]] == ["m"]
    assert list(found["summary"]) == KEYS


def test_bad_lines_are_skipped_and_counted_when_asked(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "a", "model": "m", "output_tokens": 5}\n{"prompt": 1}\n')
    words = ("evaluate", "--file", str(path), "--bundle", bundle, "--json")

    assert _run(*words) == 2
    assert _refusal(capsys).startswith(f"alise: {path} line 2: field 'prompt' must be a string")
    assert _run(*words, "--skip-bad") == 0

    shown = capsys.readouterr()
    assert json.loads(shown.out)["n"] == 1
    assert shown.err.startswith("bad lines skipped: 1; first: ")


@pytest.mark.parametrize("tier", ["0", "1", "auto"])
def test_the_tier_can_be_chosen(tmp_path: Path, tier: str) -> None:
    directory = tiny_bundle(tmp_path / "both", BundleOptions(tier1=True)).directory
    words = ("predict", "--bundle", str(directory), "--text", "essay", "--model", "m", "--json")

    found = _json(*words, "--tier", tier)

    assert found["source"] == ("tier0" if tier == "0" else "tier1")


def test_predict_answers_with_a_distribution(bundle: str) -> None:
    found = _json("predict", "--bundle", bundle, "--text", "essay", "--model", "m", "--json")

    assert 1 <= found["p10"] < found["p50"] < found["p90"] <= 2_000
    assert found["p10"] < found["mean"] < found["p90"]
    assert (found["source"], found["max_tokens"], found["p_max_tokens"]) == ("tier0", None, None)


def test_predict_keeps_to_max_tokens(bundle: str) -> None:
    words = ("predict", "--bundle", bundle, "--text", "essay", "--model", "m", "--json")
    free = _json(*words)
    limit = str(int(free["p50"]))

    found = _json(*words, "--max-tokens", limit)

    assert found["p90"] == found["max_tokens"] == int(limit)
    assert found["p_max_tokens"] == pytest.approx(0.5, abs=0.05)
    assert _json(*words, "--max-tokens", "1")["p_max_tokens"] == 1.0


def test_predict_reads_a_request_body(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "essay"}]}
    path = tmp_path / "body.json"
    path.write_text(json.dumps(body))
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(path.read_bytes())))
    words = ("predict", "--bundle", bundle, "--json", "--body")

    by_text = _json(*words[:-1], "--text", "essay", "--model", "m", "--max-tokens", "9")
    by_file, by_stdin = _json(*words, str(path)), _json(*words, "-")

    for found in (by_text, by_file, by_stdin):
        del found["latency_us"]
    assert by_file == by_stdin == by_text


def test_predict_is_readable(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--text", "essay", "--model", "m", "--max-tokens", "50")
    assert _run("predict", "--bundle", bundle, *words) == 0

    shown = capsys.readouterr().out
    assert "tier0 of tiny 1" in shown
    assert "reaches max_tokens" in shown


def test_inspect_shows_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tiny_bundle(tmp_path / "both", BundleOptions(tier1=True)).directory

    assert _run("inspect", "--bundle", str(directory)) == 0

    shown = capsys.readouterr().out
    for part in ("tiny 1", "Apache-2.0", "made up", "CC0-1.0", "tier1.onnx", "all verified"):
        assert part in shown


@pytest.mark.slow
def test_inspect_measures_what_a_prediction_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tiny_bundle(tmp_path / "both", BundleOptions(tier1=True)).directory
    words = ("inspect", "--bundle", str(directory), "--latency", "--calls", "20")

    found = _json(*words, "--json")
    assert _run(*words) == 0

    assert found["manifest"]["name"] == "tiny"
    assert [row["bytes"] for row in found["latency"]["tier0"]] == [5, 1_024, 65_536]
    assert [row["pieces"] for row in found["latency"]["tier1"]] == [32, 128]
    assert set(found["latency"]["memory_added_bytes"]) == {"tier0", "tier1"}
    assert "128 pieces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--file", "/nowhere.jsonl"], "cannot read /nowhere.jsonl: No such file"),
        (["evaluate", "--file", "x", "--tier", "1"], "--tier 1: the bundle in"),
        (["evaluate", "--file", "x", "--details", "/nowhere/d.json"], "--details /nowhere/d.json"),
        (["predict", "--body", "/nowhere.json"], "--body /nowhere.json: cannot be read: No such"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(
    bundle: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*words, "--bundle", bundle) == 2

    assert message in _refusal(capsys)


@pytest.mark.parametrize("body", ["{", "[1]", "{}", '{"model": 3}', "\udcff", "[" * 100_000])
def test_a_wrong_body_is_refused(
    bundle: str, body: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "body.json"
    path.write_bytes(body.encode("utf-8", "surrogateescape"))

    assert _run("predict", "--bundle", bundle, "--body", str(path)) == 2

    assert _refusal(capsys).startswith(f"alise: --body {path}: ")


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate"],
        ["evaluate", "--file", "x", "--tier", "2"],
        ["evaluate", "--file", "x", "--delay", "3"],
        ["evaluate", "--file", "x", "--adapt", "--delay", "-1"],
        ["predict"],
        ["predict", "--text", "x"],
        ["predict", "--text", "x", "--model", "m", "--tier", "3"],
        ["predict", "--text", "x", "--model", "m", "--max-tokens", "0"],
        ["predict", "--text", "x", "--body", "y", "--model", "m"],
        ["predict", "--body", "y", "--max-tokens", "3"],
        ["inspect", "--latency", "--calls", "0"],
        ["inspect", "extra"],
    ],
    ids=" ".join,
)
def test_wrong_usage_has_exit_code_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _run(*words)

    assert ended.value.code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--file", "x"],
        ["predict", "--text", "x", "--model", "m"],
        ["inspect"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("fault", ["absent", "changed"])
def test_a_bundle_that_is_not_what_it_says_is_refused(
    words: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "bundle"
    if fault == "changed":
        tiny_bundle(directory)
        flip_byte(directory / "tier0.onnx")

    assert _run(*words, "--bundle", str(directory)) == 2

    message = _refusal(capsys)
    assert str(directory) in message
    assert "install the bundle again" in message


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("guess") == 2

    assert "one of: train, evaluate, export, predict, inspect" in _refusal(capsys)


def test_without_a_command_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run() == 2
    assert _run("--help") == 0

    assert capsys.readouterr().out.count("usage: alise predictor COMMAND") == 2


@pytest.mark.parametrize("words", [["train"], ["export"], ["evaluate", "--all"]])
def test_training_commands_are_passed_on(
    words: list[str], training: list[argparse.Namespace]
) -> None:
    assert _run(*words, "--data", "directory") == 7

    assert [options.data for options in training] == ["directory"]


@pytest.mark.parametrize("words", [["train"], ["export"], ["evaluate", "--all"]])
def test_training_without_torch_names_the_extra(
    words: list[str],
    training: list[argparse.Namespace],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    _take_torch_away(monkeypatch)

    assert _run(*words, "--data", "directory") == 2

    message = _refusal(capsys)
    assert "needs the Python package 'torch': pip install 'alise[train]'" in message
    assert training == []


def test_serving_without_its_runtime_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def needs_runtime(words: list[str]) -> int:
        raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")

    module = ModuleType("alise_predictor.evaluation.predict_cli")
    module.run = needs_runtime  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)

    assert _run("predict", "--text", "x", "--model", "m") == 2

    assert "'onnxruntime': pip install 'alise[predictor]'" in _refusal(capsys)


@pytest.mark.parametrize("words", [["train"], ["export"], ["evaluate", "--all"]])
def test_training_without_torch_runs_where_make_train_has_put_it(
    words: list[str],
    training: list[argparse.Namespace],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s" "$2" > {tmp_path}/code\nexit 5\n')
    python.chmod(0o755)
    (tmp_path / "train-python").write_text(f"{python}\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    _take_torch_away(monkeypatch)

    assert _run(*words, "--data", "it's a directory") == 5

    code = (tmp_path / "code").read_text()
    assert repr(["predictor", *words, "--data", "it's a directory"]) in code
    assert training == []


def test_an_environment_that_is_gone_is_not_run(
    training: list[argparse.Namespace],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "train-python").write_text(str(tmp_path / "gone"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    _take_torch_away(monkeypatch)

    assert _run("train", "--data", "directory") == 2
    assert "make train" in _refusal(capsys)
    assert training == []


def _take_torch_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "export", "evaluate_all"):
        monkeypatch.setattr(sys.modules[TRAINING], name, _needs_torch)


def _needs_torch(options: argparse.Namespace) -> int:
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def _run(*words: str) -> int:
    return main(["predictor", *words])


def _refusal(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err


def _json(*words: str) -> dict[str, Any]:
    out = TextIOWrapper(BytesIO(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert _run(*words) == 0
    out.seek(0)
    found: dict[str, Any] = json.load(out)
    return found
