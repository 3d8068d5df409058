"""Tables of answer lengths: rows join by prompt id, limits become censoring."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alise_predictor.train.dataset import source_grids as grids
from alise_predictor.train.dataset.errors import MalformedDataError
from alise_predictor.train.dataset.parts import lengths
from alise_predictor.train.dataset.raw import RawSource

GRID = "output_tokens_cl100k_805x227.parquet"


@pytest.fixture
def alpaca_eval(tmp_path: Path, write_table: Callable[..., Path]) -> Callable[..., RawSource]:
    def load(table: dict[str, object]) -> RawSource:
        write_table(tmp_path / "prompts.parquet", {"pid": ["x", "y"], "prompt": ["one", "two"]})
        write_table(tmp_path / GRID, table)
        return grids.load_alpaca_eval(tmp_path)

    return load


def test_rows_join_by_id_and_gaps_are_left_out(alpaca_eval: Callable[..., RawSource]) -> None:
    source = alpaca_eval({"pid": ["y", "x"], "m1": [5, 7], "m2": [None, 9]})
    found = {
        b.model: dict(zip(b.prompts.tolist(), lengths(b).tolist(), strict=True))
        for b in source.blocks
    }
    assert found == {"m1": {1: 5, 0: 7}, "m2": {0: 9}}
    assert [prompt.request.prompt for prompt in source.prompts] == [b"one", b"two"]
    assert not any(block.censored.any() for block in source.blocks)


def test_a_length_of_an_unknown_prompt_is_refused(alpaca_eval: Callable[..., RawSource]) -> None:
    with pytest.raises(MalformedDataError, match="'pid' 'z' is not among the prompts"):
        alpaca_eval({"pid": ["z"], "m1": [5]})


@pytest.mark.parametrize("column", [[-1, 2], [1.5, 2.0], ["1", "2"]])
def test_lengths_are_whole_numbers(alpaca_eval: Callable[..., RawSource], column: object) -> None:
    with pytest.raises(MalformedDataError, match="column 'm1' holds something else"):
        alpaca_eval({"pid": ["x", "y"], "m1": column})


def test_an_id_used_twice_is_refused(tmp_path: Path, write_table: Callable[..., Path]) -> None:
    write_table(tmp_path / "prompts.parquet", {"pid": ["x", "x"], "prompt": ["one", "two"]})
    with pytest.raises(MalformedDataError, match="row 1: 'pid' is repeated"):
        grids.load_alpaca_eval(tmp_path)


def test_oasst_runs_are_apart_and_their_limit_censors(
    tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    write_table(tmp_path / "prompts.parquet", {"pid": ["x"], "prompt": ["one"]})
    table = {
        "pid": ["x"] * 4,
        "model": ["r|k50|400", "r|k50|400", "r|greedy|400", "r|k50|400"],
        "sample": [0, 1, 0, 2],
        "tok": [299, 300, 20, 410],
    }
    write_table(tmp_path / "lengths.parquet", table)
    greedy, k50 = grids.load_oasst(tmp_path).blocks
    assert (greedy.model, lengths(greedy).tolist()) == ("r|greedy", [20])
    assert (k50.model, k50.samples.tolist()) == ("r|k50", [0, 1, 2])
    assert k50.censored.tolist() == [False, True, True]


@pytest.mark.parametrize("run", ["r", "r|k50", "r|k50|0"])
def test_an_oasst_run_without_a_limit_is_refused(
    tmp_path: Path, write_table: Callable[..., Path], run: str
) -> None:
    write_table(tmp_path / "prompts.parquet", {"pid": ["x"], "prompt": ["one"]})
    table = {"pid": ["x"], "model": [run], "sample": [0], "tok": [1]}
    write_table(tmp_path / "lengths.parquet", table)
    with pytest.raises(MalformedDataError, match="does not end in its token limit"):
        grids.load_oasst(tmp_path)


@pytest.mark.parametrize(
    ("tokens", "cap"),
    [
        ([50] * 90 + [250] * 10, 256),
        ([50] * 98 + [700] * 2, 256),
        ([50] * 97 + [700] * 3, 2048),
        ([50] * 90 + [3000] * 10, None),
        ([], None),
    ],
)
def test_the_limit_of_an_exam_run_is_told_by_what_passes_it(
    tokens: list[int], cap: int | None
) -> None:
    assert grids.run_cap(np.array(tokens, dtype=np.int32)) == cap


def test_exam_answers_near_the_limit_are_censored(
    tmp_path: Path, write_table: Callable[..., Path]
) -> None:
    write_table(tmp_path / "questions.parquet", {"pid": ["1", "2"], "prompt": ["q", "r"]})
    table = {"m": [191, 192], "pid": ["1", "2"]}
    write_table(tmp_path / "output_tokens_cl100k_12032x29.parquet", table)
    assert grids.load_mmlu_pro(tmp_path).blocks[0].censored.tolist() == [False, True]
