"""From a directory to a corpus: what is kept, dropped, noted; the same every time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alise_predictor.train.dataset.corpus import Corpus, DatasetFacts
from alise_predictor.train.dataset.errors import DatasetError, MalformedDataError
from alise_predictor.train.dataset.load import build_corpus, load_corpus
from alise_predictor.train.dataset.parts import why_degenerate
from alise_predictor.train.dataset.spec import DATASETS, DatasetSpec
from alise_predictor.train.dataset.split import check_no_leak
from alise_predictor.train.dataset.tokens import TokenCounter

GPTEACHER = (
    "codegen-instruct",
    "roleplay-simple-deduped-roleplay-instruct",
    "toolformer-dedupe-only-dataset",
)
TASKS = ["Name three rivers of Asia.", "Write a poem about an old lighthouse.", "Sum 1 and 2."]


@pytest.fixture
def build(tmp_path: Path, counter: TokenCounter) -> Callable[..., Corpus]:
    def build(
        *, permissive_only: bool = False, seed: int = 0, datasets: Sequence[DatasetSpec] = DATASETS
    ) -> Corpus:
        return build_corpus(
            tmp_path,
            permissive_only=permissive_only,
            counter=counter,
            seed=seed,
            datasets=datasets,
        )

    return build


@pytest.fixture
def data(tmp_path: Path, write_list: Callable[..., Path], write_lines: Callable[..., Path]) -> Path:
    """Three Alpaca tasks, a Tulu set that shares one of them, and two of GPTeacher's tasks."""
    rows = [{"instruction": task, "input": "", "output": task[:5]} for task in TASKS]
    write_list(tmp_path / "alpaca_5000" / "alpaca_5000.json.zst", rows)
    tulu = [
        {"id": str(i), "prompt": prompt, "completions": [{"model": "t", "completion": "ab"}]}
        for i, prompt in enumerate([TASKS[0].upper(), "Quite another task altogether."])
    ]
    write_lines(tmp_path / "tulu_eval" / "eval_instances_tulu_1.jsonl", tulu)
    for name in GPTEACHER:
        rows = [{"instruction": f"{name} {i}", "input": "", "response": "abc"} for i in "12"]
        write_list(tmp_path / "gpteacher" / f"{name}.json", rows)
    return tmp_path


def _facts(corpus: Corpus, name: str) -> DatasetFacts:
    return next(facts for facts in corpus.datasets if facts.name == name)


def test_prompts_answers_and_models_fit_together(data: Path, build: Callable[..., Corpus]) -> None:
    corpus = build()
    check_no_leak(corpus)
    answers = corpus.answers
    first = corpus.prompts[answers.prompt[0]]
    assert (first.id, first.source, first.text) == ("alpaca_dv3/0", "alpaca_dv3", TASKS[0])
    assert corpus.models[answers.model[0]] == "text-davinci-003"
    assert answers.tokens[:3].tolist() == [5, 5, 5]
    dtypes = [a.dtype for a in (answers.prompt, answers.model, answers.tokens, answers.sample)]
    assert dtypes == [np.int32] * 4
    assert answers.censored.dtype == np.bool_
    assert corpus.tokenizer == "bytes"


def test_the_same_directory_gives_the_same_corpus(data: Path, build: Callable[..., Corpus]) -> None:
    one, two = build(), build()
    assert one.sha256 == two.sha256
    assert one.prompts == two.prompts
    assert one.datasets == two.datasets
    assert np.array_equal(one.answers.tokens, two.answers.tokens)


def test_another_answer_changes_only_its_datasets_hash(
    data: Path, build: Callable[..., Corpus], write_list: Callable[..., Path]
) -> None:
    before = build()
    rows = [{"instruction": task, "input": "", "output": "other"} for task in TASKS]
    rows[0]["output"] = "longer than before"
    write_list(data / "alpaca_5000" / "alpaca_5000.json.zst", rows)
    after = build()
    changed = {
        old.name
        for old, new in zip(before.datasets, after.datasets, strict=True)
        if old.sha256 != new.sha256
    }
    assert changed == {"alpaca_dv3"}
    assert before.sha256 != after.sha256


def test_permissive_data_is_without_what_others_hold_and_splits_alike(
    data: Path, build: Callable[..., Corpus]
) -> None:
    every, permissive = build(), build(permissive_only=True)
    assert {p.id for p in permissive.prompts if p.source == "tulu_eval"} == {"tulu_eval/1"}
    assert "alpaca_dv3" not in permissive.sources
    assert all(facts.permissive for facts in permissive.datasets)
    splits = {prompt.id: (prompt.cluster, prompt.split) for prompt in every.prompts}
    assert all(splits[p.id] == (p.cluster, p.split) for p in permissive.prompts)
    notes = _facts(permissive, "tulu_eval").notes
    assert "1 prompts left out which non-permissive datasets hold too" in notes
    assert any("not compared with alpaca_eval" in note for note in notes)


def test_shared_prompts_are_counted_on_both_sides(data: Path, build: Callable[..., Corpus]) -> None:
    corpus = build()
    assert _facts(corpus, "alpaca_dv3").shared_prompts == 1
    assert _facts(corpus, "tulu_eval").shared_prompts == 1
    assert _facts(corpus, "gpteacher_code").shared_prompts == 0


def test_a_templated_dataset_is_capped_by_a_seeded_draw(
    tmp_path: Path, build: Callable[..., Corpus], write_list: Callable[..., Path]
) -> None:
    rows = [
        {"instruction": f"tool {i} {i * i}", "input": "", "response": "x" * (i % 50)}
        for i in range(1005)
    ]
    write_list(tmp_path / "gpteacher" / "toolformer-dedupe-only-dataset.json", rows)
    datasets = [spec for spec in DATASETS if spec.name == "gpteacher_tool"]
    drawn = [{p.id for p in build(seed=seed, datasets=datasets).prompts} for seed in (0, 0, 1)]
    assert [len(ids) for ids in drawn] == [1000] * 3
    assert drawn[0] == drawn[1] != drawn[2]
    assert _facts(build(datasets=datasets), "gpteacher_tool").dropped_prompts == 5


def test_missing_folders_are_noted(data: Path, build: Callable[..., Corpus]) -> None:
    corpus = build()
    flask = _facts(corpus, "flask")
    assert flask.sha256 == ""
    assert flask.notes == ("no folder 'flask' in the data directory: skipped",)
    assert _facts(corpus, "own").notes == ("no *.jsonl file in the data directory: skipped",)


def test_an_empty_directory_is_refused_with_what_was_looked_for(
    build: Callable[..., Corpus],
) -> None:
    with pytest.raises(DatasetError, match=r"no answers.*flask: no folder 'flask'.*check"):
        build()


def test_own_data_needs_no_rank_file(tmp_path: Path, write_lines: Callable[..., Path]) -> None:
    line = {"prompt": "Hi", "model": "m", "output_tokens": 3, "timestamp": 5.0}
    write_lines(tmp_path / "log.jsonl", [line])
    corpus = load_corpus(tmp_path, permissive_only=False, ranks=tmp_path / "none")
    assert corpus.prompts[0].timestamp_s == 5.0
    assert corpus.answers.tokens.tolist() == [3]


def test_own_runs_may_be_constant(
    tmp_path: Path, write_lines: Callable[..., Path], build: Callable[..., Corpus]
) -> None:
    lines = [{"prompt": f"Is it {i}?", "model": "m", "output_tokens": 1} for i in range(50)]
    write_lines(tmp_path / "log.jsonl", lines)
    assert len(build().answers) == 50


def test_a_degenerate_run_is_dropped_and_named(
    tmp_path: Path, write_table: Callable[..., Path], build: Callable[..., Corpus]
) -> None:
    pids = [str(i) for i in range(40)]
    prompts = {"pid": pids, "prompt": [f"question {i}" for i in pids]}
    write_table(tmp_path / "alpaca_eval" / "prompts.parquet", prompts)
    lengths = {"good": list(range(40)), "bad": [225] * 40, "pid": pids}
    write_table(tmp_path / "alpaca_eval" / "output_tokens_cl100k_805x227.parquet", lengths)
    corpus = build()
    assert corpus.models == ("good",)
    assert _facts(corpus, "alpaca_eval").dropped_runs == ("bad (1 distinct lengths)",)


def test_an_evaluation_dataset_keeps_its_clusters_out_of_training(
    data: Path, build: Callable[..., Corpus]
) -> None:
    name = "gpteacher_code"
    datasets = [replace(spec, trains=spec.name != name) for spec in DATASETS]
    corpus = build(datasets=datasets)
    assert {p.split for p in corpus.prompts if p.source == name} == {"test"}


def test_a_malformed_file_stops_the_load(data: Path, build: Callable[..., Corpus]) -> None:
    (data / "tulu_eval" / "eval_instances_tulu_1.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(MalformedDataError, match=r"tulu_1\.jsonl, line 1: 'prompt'"):
        build()


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ([5] * 29, None),
        ([5] * 30, "1 distinct lengths"),
        (list(range(9)) * 10, "9 distinct lengths"),
        (list(range(10)) * 10, None),
        ([7] * 40 + list(range(100, 160)), None),
        ([7] * 41 + list(range(100, 159)), "41% of answers have 7 tokens"),
    ],
)
def test_a_run_is_degenerate_by_the_stated_rule(tokens: list[int], reason: str | None) -> None:
    assert why_degenerate(np.array(tokens, dtype=np.int32)) == reason


def test_groups_are_sources_with_models(data: Path, build: Callable[..., Corpus]) -> None:
    corpus = build()
    groups = {(source, model): len(chosen) for source, model, chosen in corpus.groups()}
    assert groups["alpaca_dv3", "text-davinci-003"] == 3
    assert groups["gpteacher_code", "gpt-4"] == 2
    assert groups["gpteacher_role", "gpt-4"] == 2
    assert sum(groups.values()) == len(corpus.answers)
