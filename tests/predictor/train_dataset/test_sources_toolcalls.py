"""Function calls: joined by position, and only where the join can be shown to hold."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alise_predictor.train.dataset.errors import MalformedDataError
from alise_predictor.train.dataset.parts import lengths
from alise_predictor.train.dataset.source_toolcalls import load_bfcl

FILES = {
    "simple": "BFCL_v4_simple_python.json",
    "multiple_function": "BFCL_v4_multiple.json",
    "parallel_function": "BFCL_v4_parallel.json",
    "parallel_multiple_function": "BFCL_v4_parallel_multiple.json",
    "java": "BFCL_v4_simple_java.json",
    "javascript": "BFCL_v4_simple_javascript.json",
}
COUNT = 30


def _question(number: int) -> dict[str, object]:
    words = "word " * (1 + number * 7 % COUNT)
    return {
        "id": f"v4_{number}",
        "question": [[{"role": "user", "content": f"Question {number}: {words}"}]],
        "function": [{"name": "f", "description": "does it"}],
    }


@pytest.fixture
def write_bfcl(
    tmp_path: Path, write_lines: Callable[..., Path], write_table: Callable[..., Path]
) -> Callable[..., Path]:
    def write(shift: str | None = None, **columns: object) -> Path:
        for name in FILES.values():
            write_lines(tmp_path / "questions" / name, [_question(i) for i in range(COUNT)])
        rows = [(category, i) for category in FILES for i in range(COUNT)]
        table = {
            "model": ["m"] * len(rows),
            "category": [category for category, _ in rows],
            "id": [f"{category}_{i}" for category, i in rows],
            "result_tokens_cl100k": list(range(len(rows))),
            "input_token_count": [
                float(100 + (i + (category == shift)) * 7 % COUNT) for category, i in rows
            ],
        }
        write_table(tmp_path / "bfcl_2024-08-11_lengths.parquet", table | columns)
        return tmp_path

    return write


def test_lengths_join_questions_by_category_and_position(write_bfcl: Callable[..., Path]) -> None:
    source = load_bfcl(write_bfcl())
    (block,) = source.blocks
    assert len(source.prompts) == len(FILES) * COUNT
    assert block.prompts.tolist() == lengths(block).tolist() == list(range(len(source.prompts)))
    request = source.prompts[COUNT + 3].request
    assert request.prompt.startswith(b"Question 3:")
    assert request.tools == 1
    assert not source.notes


def test_a_category_whose_results_belong_to_other_questions_is_left_out(
    write_bfcl: Callable[..., Path],
) -> None:
    source = load_bfcl(write_bfcl(shift="java"))
    assert len(source.prompts) == (len(FILES) - 1) * COUNT
    assert not any(prompt.key.startswith("java_") for prompt in source.prompts)
    (note,) = source.notes
    assert note.startswith("java: left out")


def test_results_that_measured_nothing_are_left_out(write_bfcl: Callable[..., Path]) -> None:
    source = load_bfcl(write_bfcl(input_token_count=[0.0] * len(FILES) * COUNT))
    assert not source.prompts
    assert not source.blocks
    assert len(source.notes) == len(FILES)


def test_an_id_without_a_number_is_named(write_bfcl: Callable[..., Path]) -> None:
    with pytest.raises(MalformedDataError, match="row 0: 'id' does not end in a number"):
        load_bfcl(write_bfcl(id=["x"] * len(FILES) * COUNT))
