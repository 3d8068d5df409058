"""Small data directories in the layout of the real ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

_RUNS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
_WORDS = ("apples", "trains", "pencils", "rivers", "teachers", "wheels", "letters", "stones")


def write_gsm8k(data: Path, prompts: int) -> None:
    """Word problems with four solutions each; more words, longer solutions.

    Args:
        data: The data directory.
        prompts: How many.
    """
    rows = [_row(np.random.default_rng(number), number) for number in range(prompts)]
    _write(data / "gsm8k_solutions/example_model_solutions.jsonl.zst", rows)


def write_alpaca(data: Path, prompts: int) -> None:
    """A data set that may not be shipped, with other prompts than ``write_gsm8k``."""
    rows = [_row(np.random.default_rng((1, number)), number) for number in range(prompts)]
    made = [
        {
            "instruction": f"Do: {row['question']}",
            "input": "",
            "output": row["6b_finetuning"]["solution"],
        }
        for row in rows
    ]
    folder = data / "alpaca_5000"
    folder.mkdir(parents=True)
    (folder / "alpaca_5000.json").write_text(json.dumps(made), encoding="utf-8")


def write_tulu(data: Path, prompts: int) -> None:
    """A data set that may be shipped itself, with prompts taken from some that may not."""
    rows = [_row(np.random.default_rng((2, number)), number) for number in range(prompts)]
    made = [
        {
            "id": str(number),
            "prompt": row["question"],
            "completions": [{"model": "tulu", "completion": row["6b_finetuning"]["solution"]}],
        }
        for number, row in enumerate(rows)
    ]
    _write(data / "tulu_eval/eval_instances_tulu_1.jsonl.zst", made)


def write_own(data: Path, rows: int, tokens: int | None = None) -> None:
    """Logs of one's own.

    Args:
        data: The data directory.
        rows: How many.
        tokens: Length of every answer; without it they differ.
    """
    random = np.random.default_rng(0)
    lines = []
    for number in range(rows):
        long = number % 2
        words = " ".join(random.choice(_WORDS, 9))
        length = int(40 + 300 * long + random.integers(40)) if tokens is None else tokens
        lines.append(
            {
                "prompt": f"{'Explain' if long else 'Name'} {words} {number}",
                "model": "llama",
                "output_tokens": length,
            }
        )
    data.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (data / "own.jsonl").write_text(text, encoding="utf-8")


def _row(random: np.random.Generator, number: int) -> dict[str, Any]:
    size = int(random.integers(3, 30))
    question = " ".join([f"Problem {number}:", *random.choice(_WORDS, size), "how many?"])
    solutions = {}
    for index, run in enumerate(_RUNS):
        words = random.choice(_WORDS, size * (index + 1) + int(random.integers(9)))
        solutions[run] = {"is_correct": False, "solution": " ".join(words)}
    return {"question": question, "ground_truth": "1", **solutions}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(zstandard.ZstdCompressor().compress(text.encode()))
