import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow
import pyarrow.parquet
import pytest

from alise_bench.demo.workload import read_sample
from alise_bench.workloads.arrivals import Arrival, poisson
from alise_bench.workloads.corpora import TRAINED, WorkloadPrompt
from alise_bench.workloads.prompts import (
    LONG_TOKENS,
    SHORT_TOKENS,
    TenantShare,
    Workload,
    WorkloadName,
    compose,
    length_statistics,
    load_workload,
)
from alise_core.errors import ConfigError
from alise_predictor.train.dataset.dedup import find_clusters, name_clusters
from alise_predictor.train.dataset.spec import DATASETS
from alise_predictor.train.dataset.split import assign

ROWS = 60
FROM_BYTES = "estimated from the answers' bytes"


def questions(source: str) -> list[str]:
    # No two share three words in a row, so that none is another's near-duplicate.
    words = source[:4]
    return [f"{words}{n}a asks {words}{n}b about {words}{n}c" for n in range(ROWS)]


def sources_of(workload: Workload) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", workload.facts["sources"])


def split_of(text: str) -> str:
    return assign(name_clusters([text], find_clusters([text]))[0])


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_lines(path: Path, rows: Sequence[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_table(path: Path, columns: dict[str, list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def instructions(texts: Sequence[str], answer: str) -> list[dict[str, str]]:
    return [
        {"instruction": text, "input": "", answer: "word " * (n % 7)}
        for n, text in enumerate(texts)
    ]


def write_grid(folder: Path, prompts: str, lengths: str, model: str, source: str) -> None:
    pids: list[object] = [f"{source}-{n}" for n in range(ROWS)]
    write_table(folder / prompts, {"pid": pids, "prompt": list(questions(source))})
    write_table(folder / lengths, {"pid": pids, model: [10 + 35 * n for n in range(ROWS)]})


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Whether this machine has the tokenizer's ranks must not decide what is tested.
    monkeypatch.setattr("alise_predictor.train.dataset.tokens.CACHE_FILE", "absent")
    known = questions("teacher")
    write_json(
        tmp_path / "alpaca_5000" / "alpaca_5000.json",
        instructions([*questions("alpaca"), *known, "x" * 7_000], "output"),
    )
    write_json(
        tmp_path / "codealpaca_2k" / "code_alpaca_2k.json",
        instructions(questions("code"), "output"),
    )
    teacher = tmp_path / "gpteacher"
    write_json(teacher / "codegen-instruct.json", instructions(known, "response"))
    for name in ("roleplay-simple-deduped-roleplay-instruct", "toolformer-dedupe-only-dataset"):
        write_json(teacher / f"{name}.json", instructions(questions(name), "response"))
    write_grid(
        tmp_path / "alpaca_eval",
        "prompts.parquet",
        "output_tokens_cl100k_805x227.parquet",
        "llama-2-70b-chat-hf",
        "chat",
    )
    write_grid(
        tmp_path / "mmlu_pro",
        "questions.parquet",
        "output_tokens_cl100k_12032x29.parquet",
        "Meta-Llama-3_1-70B-Instruct",
        "exam",
    )
    flask = [{"idx": n, "instruction": text} for n, text in enumerate(questions("chat"))]
    flask.append({"idx": ROWS, "instruction": "only flask has asked this"})
    write_lines(tmp_path / "flask" / "flask_evaluation.jsonl", flask)
    write_lines(
        tmp_path / "flask" / "outputs" / "llama2_chat_70b.jsonl",
        [{"question_id": row["idx"], "text": "four"} for row in flask],
    )
    runs = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    write_lines(
        tmp_path / "gsm8k_solutions" / "example_model_solutions.jsonl",
        [
            {"question": text} | {run: {"solution": "1 + 1 = 2"} for run in runs}
            for text in questions("sums")
        ],
    )
    (tmp_path / "sarathi_sharegpt_lengths").mkdir()
    pairs = "".join(f"{n},{n + 1},1,1\n" for n in range(1, 40))
    csv = tmp_path / "sarathi_sharegpt_lengths" / "sharegpt_8k_filtered_stats_llama2_tokenizer.csv"
    csv.write_text(f"num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n{pairs}")
    return tmp_path


def test_the_sample_needs_no_data_and_says_that_it_was_trained_on() -> None:
    sample = load_workload(WorkloadName.SAMPLE, None, 0)
    assert [row.text for row in sample.rows] == [row.prompt for row in read_sample()]
    assert (sample.facts["trained_share"], sample.facts["seen_share"]) == (1.0, 1.0)
    assert "trained on most of these" in str(sample.facts["notes"])


def test_mixed_without_a_data_directory_is_the_sample_and_says_so() -> None:
    mixed = load_workload(WorkloadName.MIXED, None, 0)
    assert mixed.rows == load_workload(WorkloadName.SAMPLE, None, 0).rows
    assert "mixed is the bundled sample" in str(mixed.facts["notes"])


@pytest.mark.parametrize("name", sorted(set(WorkloadName) - {"sample", "mixed", "short-long"}))
def test_the_others_need_a_data_directory(name: str) -> None:
    with pytest.raises(ConfigError, match="needs a data directory"):
        load_workload(WorkloadName(name), None, 0)


def test_the_predictors_test_split_is_all_that_is_taken_of_its_data(data_dir: Path) -> None:
    code = load_workload(WorkloadName.CODE, data_dir, 0)
    teacher = {row.text for row in code.rows if row.source == "gpteacher_code"}
    wanted = {text for text in questions("teacher") if split_of(text) == "test"}
    assert wanted
    empty = {text for n, text in enumerate(questions("teacher")) if n % 7 == 0}
    assert teacher == wanted - empty
    assert {row.trained for row in code.rows if row.source == "gpteacher_code"} == {True}
    assert {row.trained for row in code.rows if row.source == "codealpaca"} == {False}
    assert code.facts["trained_share"] == round(len(teacher) / len(code.rows), 3)
    assert code.facts["seen_share"] == 0.0


def test_prompts_that_the_predictor_knows_from_elsewhere_are_left_out(data_dir: Path) -> None:
    alpaca = load_workload(WorkloadName.ALPACA, data_dir, 0)
    known = set(questions("teacher")) & {row.text for row in alpaca.rows}
    assert all(split_of(text) == "test" for text in known)
    (source,) = sources_of(alpaca)
    left_out = source["left_out"]
    assert left_out["in the predictor's training or validation"] == sum(
        split_of(text) != "test" for text in questions("teacher")
    )
    assert left_out["prompt empty or longer than its reader keeps"] == 1
    assert left_out["answer empty"] >= 1
    assert len(alpaca.rows) + sum(left_out.values()) == 2 * ROWS + 1


def test_facts_name_sources_licences_and_how_lengths_were_found(data_dir: Path) -> None:
    chat = load_workload(WorkloadName.CHAT, data_dir, 0)
    evaluated, flask = sources_of(chat)
    assert (evaluated["dataset"], evaluated["rows"]) == ("alpaca_eval", ROWS)
    assert evaluated["counted"] == "cl100k_base"
    assert "CC-BY-NC-4.0" in evaluated["licence"]
    assert (flask["rows"], flask["counted"]) == (1, FROM_BYTES)
    assert flask["left_out"] == {"near-duplicate of another prompt": ROWS}
    assert {row.answered_by for row in chat.rows} == {"llama-2-70b-chat-hf", "llama2_chat_70b"}
    assert chat.rows[-1].output_tokens == 1
    assert "oasst_eval" in str(chat.facts["notes"])


def test_answers_at_the_models_limit_are_left_out(data_dir: Path) -> None:
    exam = load_workload(WorkloadName.EXAM, data_dir, 0)
    mine = [n for n, text in enumerate(questions("exam")) if split_of(text) == "test"]
    # From three quarters of 2,048 tokens on, a length may be a cut one.
    cut = [n for n in mine if 10 + 35 * n >= 1_536]
    lengths = [row.output_tokens for row in exam.rows if row.source == "mmlu_pro"]
    assert cut
    assert sorted(lengths) == [10 + 35 * n for n in mine if n not in cut]
    source, _ = sources_of(exam)
    assert source["left_out"]["answer cut off at the model's limit"] == len(cut)
    assert exam.facts["trained_share"] == 1.0


def test_mixed_has_equal_shares_of_its_kinds(data_dir: Path) -> None:
    mixed = load_workload(WorkloadName.MIXED, data_dir, 3)
    kinds = Counter(
        {
            "alpaca_dv3": "alpaca",
            "alpaca_eval": "chat",
            "flask": "chat",
            "codealpaca": "code",
            "gpteacher_code": "code",
        }.get(row.source, "exam")
        for row in mixed.rows
    )
    assert len(set(kinds.values())) == 1
    assert len(kinds) == 4
    assert mixed.rows == load_workload(WorkloadName.MIXED, data_dir, 3).rows
    assert mixed.rows != load_workload(WorkloadName.MIXED, data_dir, 4).rows


def test_sharegpt_is_filler_of_the_recorded_length(data_dir: Path) -> None:
    pairs = load_workload(WorkloadName.SHAREGPT, data_dir, 0)
    assert sorted(row.prompt_tokens for row in pairs.rows) == list(range(1, 40))
    for row in pairs.rows:
        assert row.output_tokens == row.prompt_tokens + 1
        assert len(row.text) == 4 * row.prompt_tokens
    assert len({row.text[:8] for row in pairs.rows if row.prompt_tokens > 1}) == 38
    assert "lengths only" in str(pairs.facts["notes"])


def test_what_is_missing_or_damaged_is_named(data_dir: Path) -> None:
    with pytest.raises(ConfigError, match="no such directory"):
        load_workload(WorkloadName.CHAT, data_dir / "absent", 0)
    with pytest.raises(ConfigError, match="ranks: no rank file"):
        load_workload(WorkloadName.ALPACA, data_dir, 0, ranks=data_dir / "ranks")
    csv = data_dir / "sarathi_sharegpt_lengths"
    (csv / "sharegpt_8k_filtered_stats_llama2_tokenizer.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="line 2: has no whole num_prefill_tokens"):
        load_workload(WorkloadName.SHAREGPT, data_dir, 0)
    empty = data_dir / "nothing"
    empty.mkdir()
    with pytest.raises(ConfigError, match="alpaca_5000: no such data set"):
        load_workload(WorkloadName.ALPACA, empty, 0)


def test_a_missing_package_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ModuleNotFoundError("no", name="pyarrow")

    monkeypatch.setattr("alise_bench.workloads.corpora.importlib.import_module", refuse)
    with pytest.raises(ConfigError, match="needs pyarrow; pip install pyarrow tiktoken"):
        load_workload(WorkloadName.CHAT, data_dir, 0)


def test_every_trained_data_set_is_one_that_may_be() -> None:
    assert {spec.name for spec in DATASETS if spec.permissive and spec.trains} - TRAINED == {
        "tulu_eval"  # All its prompts are in other sets, and none was left.
    }


def prompt(number: int) -> WorkloadPrompt:
    return WorkloadPrompt(
        text=f"q{number}", output_tokens=number, prompt_tokens=1, source="s", answered_by="m"
    )


FEW = Workload(WorkloadName.SAMPLE, tuple(prompt(n) for n in range(1, 9)), {})


def test_composed_prompts_come_in_an_order_that_the_seed_decides() -> None:
    arrivals = poisson(30, 2.0, 0)
    rows = compose(FEW, arrivals, 20, 1)
    assert rows == compose(FEW, arrivals, 20, 1)
    assert rows != compose(FEW, arrivals, 20, 2)
    assert [row.arrival_s for row in rows] == [mark.offset_s for mark in arrivals[:20]]
    assert {row.prompt for row in rows[:8]} == {row.text for row in FEW.rows}
    assert all(row.prompt == f"q{row.output_tokens}" for row in rows)
    assert {(row.model, row.tenant, row.service_tier) for row in rows} == {(None, None, None)}


def test_requests_of_nobody_are_drawn_by_the_tenants_shares() -> None:
    tenants = [TenantShare(name="a", share=3, service_tier="flex"), TenantShare(name="b", share=1)]
    rows = compose(FEW, poisson(2_000, 2.0, 0), 2_000, 1, tenants)
    counts = Counter((row.tenant, row.service_tier) for row in rows)
    assert counts[("a", "flex")] == pytest.approx(1_500, rel=0.1)
    assert counts[("b", None)] == 2_000 - counts[("a", "flex")]


def test_a_recorded_tenant_is_kept_or_becomes_one_for_good() -> None:
    arrivals = [Arrival(float(n), tenant=f"chunk-{n % 5}", prefix_group="g") for n in range(50)]
    kept = compose(FEW, arrivals, 50, 0)
    assert [row.tenant for row in kept] == [mark.tenant for mark in arrivals]
    assert {row.prefix_group for row in kept} == {"g"}
    tenants = [TenantShare(name="a", share=1), TenantShare(name="b", share=1)]
    rows = compose(FEW, arrivals, 50, 0, tenants)
    became = {(mark.tenant, row.tenant) for mark, row in zip(arrivals, rows, strict=True)}
    assert len(became) == 5
    assert {tenant for _, tenant in became} == {"a", "b"}


def test_impossible_compositions_are_refused() -> None:
    arrivals = poisson(3, 1.0, 0)
    for count in (0, 4):
        with pytest.raises(ValueError, match="count"):
            compose(FEW, arrivals, count, 0)
    with pytest.raises(ValueError, match="share"):
        compose(FEW, arrivals, 3, 0, [TenantShare(name="a", share=0)])


def test_length_statistics_are_nearest_rank() -> None:
    assert length_statistics(list(range(1, 101))) == {
        "mean": 50.5,
        "p50": 50.0,
        "p95": 95.0,
        "p99": 99.0,
        "max": 100.0,
        "cv": 0.57,
    }
    assert length_statistics([7])["p99"] == 7.0


def test_short_long_has_four_short_answers_to_a_long_one_and_none_between() -> None:
    made = load_workload(WorkloadName.SHORT_LONG, None, 2)
    short = [row for row in made.rows if row.output_tokens <= SHORT_TOKENS]
    long = [row for row in made.rows if row.output_tokens >= LONG_TOKENS]
    assert len(short) + len(long) == len(made.rows)
    assert len(short) == 4 * len(long) > 100
    assert "mixed is the bundled sample" in str(made.facts["notes"])
    assert made.facts["workload"] == "short-long"
    assert sources_of(made) == sources_of(load_workload(WorkloadName.MIXED, None, 2))
    assert load_workload(WorkloadName.SHORT_LONG, None, 3).rows != made.rows
