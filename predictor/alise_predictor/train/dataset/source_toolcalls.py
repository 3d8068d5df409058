"""Berkeley function calling: questions with tools, and the lengths of the calls models made.

Questions and results come from different versions whose ids differ, so they are joined by
category and position. Whether that holds is checked for every category with what the results
measured themselves: the input tokens of a request grow with the bytes of its question and tools.
Joined rightly the two correlate by 0.94 to 0.98 (median over 57 models), and by at most 0.53
when shifted by one place; a category below 0.9 is left out.
"""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.lib
from numpy.typing import NDArray

from alise_predictor.request import from_body
from alise_predictor.train.dataset.raw import AnswerBlock, RawPrompt, RawSource
from alise_predictor.train.dataset.readers import Row, find, read_lines, read_table

MIN_CORRELATION = 0.9

_RESULTS = "bfcl_2024-08-11_lengths.parquet"
_MIN_MEASURED = 20
_CATEGORIES = {
    "simple": "BFCL_v4_simple_python.json",
    "multiple_function": "BFCL_v4_multiple.json",
    "parallel_function": "BFCL_v4_parallel.json",
    "parallel_multiple_function": "BFCL_v4_parallel_multiple.json",
    "java": "BFCL_v4_simple_java.json",
    "javascript": "BFCL_v4_simple_javascript.json",
}
_NUMBER = re.compile(r"\d+$")


def load_bfcl(folder: Path) -> RawSource:
    """Single-turn function calling: six categories for which there are questions."""
    path = find(folder, _RESULTS)
    columns = ("model", "category", "id", "result_tokens_cl100k", "input_token_count")
    results = _Results(read_table(path, columns), path)
    source = RawSource()
    rows: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for category, name in _CATEGORIES.items():
        questions = list(read_lines(find(folder / "questions", name)))
        chosen = results.of_category(category, len(questions))
        agreement = results.agreement(chosen, np.array([_size(row) for row in questions]))
        if not agreement >= MIN_CORRELATION:
            source.notes.append(
                f"{category}: left out, questions and results do not fit (r = {agreement:.2f})"
            )
            continue
        rows.append((chosen, results.positions[chosen] + len(source.prompts)))
        source.prompts += [_prompt(f"{category}_{i}", row) for i, row in enumerate(questions)]
    if rows:
        chosen, prompts = (np.concatenate(part) for part in zip(*rows, strict=True))
        source.blocks = results.blocks(chosen, prompts)
    return source


class _Results:
    """The table of results."""

    __slots__ = ("_categories", "_inputs", "_models", "_tokens", "positions")

    def __init__(self, table: pyarrow.lib.Table, path: Path) -> None:
        self._models = np.array(table["model"].to_pylist(), dtype=np.str_)
        self._categories = np.array(table["category"].to_pylist(), dtype=np.str_)
        self._inputs = table["input_token_count"].to_numpy().astype(np.float64)
        self._tokens = table["result_tokens_cl100k"].to_numpy().astype(np.int32)
        self.positions = np.array(
            [_position(str(name), path, row) for row, name in enumerate(table["id"].to_pylist())],
            dtype=np.int64,
        )

    def of_category(self, category: str, questions: int) -> NDArray[np.int64]:
        """Rows of a category whose position is one of so many questions."""
        return np.flatnonzero((self._categories == category) & (self.positions < questions))

    def agreement(self, rows: NDArray[np.int64], sizes: NDArray[np.int64]) -> float:
        """Median over models of the correlation of measured input tokens with question sizes."""
        measured = rows[self._inputs[rows] > 0]
        found = []
        for model in np.unique(self._models[measured]):
            own = measured[self._models[measured] == model]
            inputs, asked = self._inputs[own], sizes[self.positions[own]]
            if len(own) >= _MIN_MEASURED and inputs.std() > 0 and asked.std() > 0:
                found.append(float(np.corrcoef(inputs, asked)[0, 1]))
        return float(np.median(found)) if found else float("nan")

    def blocks(self, rows: NDArray[np.int64], prompts: NDArray[np.int64]) -> list[AnswerBlock]:
        """One block a model."""
        blocks = []
        for model in np.unique(self._models[rows]).tolist():
            chosen = np.flatnonzero(self._models[rows] == model)
            blocks.append(
                AnswerBlock(
                    model=model,
                    prompts=prompts[chosen].astype(np.int32),
                    samples=np.zeros(len(chosen), dtype=np.int32),
                    censored=np.zeros(len(chosen), dtype=np.bool_),
                    tokens=self._tokens[rows[chosen]],
                )
            )
        return blocks


def _position(name: str, path: Path, row: int) -> int:
    number = _NUMBER.search(name)
    if number is None:
        raise Row(f"{path}, row {row}", {}).malformed("'id' does not end in a number")
    return int(number.group())


def _prompt(key: str, row: Row) -> RawPrompt:
    turns = row.values.get("question")
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], list):
        raise row.malformed("'question' is not a list of turns")
    tools = [tool.values for tool in row.rows("function")]
    return RawPrompt(key=key, request=from_body({"messages": turns[0], "tools": tools}, ""))


def _size(row: Row) -> int:
    wanted = [row.values.get("question"), row.values.get("function")]
    return len(json.dumps(wanted, ensure_ascii=False))
