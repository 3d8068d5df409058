"""The data card says what is in a corpus, for people and for machines."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alise_predictor.train.dataset.card import (
    DataCard,
    DatasetCard,
    describe,
    render_json,
    render_markdown,
)
from alise_predictor.train.dataset.corpus import Corpus
from alise_predictor.train.dataset.load import build_corpus
from alise_predictor.train.dataset.spec import DATASETS
from alise_predictor.train.dataset.tokens import TokenCounter


@pytest.fixture
def corpus(
    tmp_path: Path,
    counter: TokenCounter,
    write_list: Callable[..., Path],
    write_lines: Callable[..., Path],
) -> Corpus:
    tasks = [f"Task {i} of a kind that is unlike {i * 7}" for i in range(4)]
    rows = [{"instruction": task, "input": "", "output": "a" * 10} for task in tasks]
    write_list(tmp_path / "alpaca_5000" / "alpaca_5000.json", rows)
    own = [
        {"prompt": tasks[0], "model": "m", "output_tokens": 4, "max_tokens": 4, "source": "chat"},
        {"prompt": "Something else.", "model": "m", "output_tokens": 2},
    ]
    write_lines(tmp_path / "log.jsonl", own)
    return build_corpus(tmp_path, permissive_only=False, counter=counter, seed=3, datasets=DATASETS)


def _entry(card: DataCard, name: str) -> DatasetCard:
    return next(entry for entry in card.datasets if entry.facts.name == name)


def test_the_card_counts_what_is_there(corpus: Corpus) -> None:
    card = describe(corpus)
    assert (card.prompts, card.answers, card.clusters, card.shared_clusters) == (6, 6, 5, 1)
    alpaca, own = _entry(card, "alpaca_dv3"), _entry(card, "own")
    assert (alpaca.prompts, alpaca.answers, alpaca.models, alpaca.clusters) == (4, 4, 1, 4)
    assert set(alpaca.tokens.values()) == {10.0}
    assert sum(alpaca.splits.values()) == 4
    assert (own.prompts, own.censored) == (2, 0.5)
    assert _entry(card, "flask").prompts == 0


def test_the_json_card_carries_hashes_and_licences(corpus: Corpus) -> None:
    card = json.loads(render_json(describe(corpus)))
    entry = next(e for e in card["datasets"] if e["facts"]["name"] == "alpaca_dv3")
    assert card["sha256"] == corpus.sha256
    assert card["seed"] == 3
    assert entry["facts"]["licence"] == "CC-BY-NC-4.0"
    assert len(entry["facts"]["sha256"]) == 64


def test_the_markdown_card_lists_every_dataset_and_what_is_missing(corpus: Corpus) -> None:
    text = render_markdown(describe(corpus))
    assert all(f"| {spec.name} | {spec.licence} |" in text for spec in DATASETS)
    assert "flask: no folder 'flask' in the data directory: skipped" in text
    assert corpus.sha256 in text


def test_the_card_repeats_no_prompt(corpus: Corpus) -> None:
    card = describe(corpus)
    assert "unlike" not in render_json(card) + render_markdown(card)


def test_only_listed_datasets_may_train_what_is_distributed() -> None:
    assert {spec.name for spec in DATASETS if spec.permissive} == {
        "gpteacher_code",
        "gpteacher_role",
        "gpteacher_tool",
        "gsm8k",
        "mmlu_pro",
        "oasst_eval",
        "tulu_eval",
        "vicuna80",
    }
    assert {spec.name for spec in DATASETS if not spec.trains} == {"bfcl"}
