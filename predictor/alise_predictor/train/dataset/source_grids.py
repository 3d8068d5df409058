"""Sources published as tables of answer lengths: AlpacaEval, MMLU-Pro, OpenAssistant."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.lib
from numpy.typing import NDArray

from alise_predictor.request import from_prompt
from alise_predictor.train.dataset.errors import MalformedDataError
from alise_predictor.train.dataset.raw import (
    CAP_SHARE,
    AnswerBlock,
    RawPrompt,
    RawSource,
    count_samples,
)
from alise_predictor.train.dataset.readers import find, read_table

_MMLU_CAPS = (256, 2048)
_OVER_CAP_SHARE = 0.02
_OVER_CAP = 1.06

_Cap = Callable[[NDArray[np.int32]], int | None]


def load_alpaca_eval(folder: Path) -> RawSource:
    """805 prompts, the lengths of 227 models' answers; their limits are not recorded."""
    return _load_grid(folder, "prompts.parquet", "output_tokens_cl100k_805x227.parquet", _no_cap)


def load_mmlu_pro(folder: Path) -> RawSource:
    """12,032 exam questions, the lengths of 29 models' answers.

    The models saw five solved examples before the question, which the prompts do not hold.
    """
    return _load_grid(folder, "questions.parquet", "output_tokens_cl100k_12032x29.parquet", run_cap)


def load_oasst(folder: Path) -> RawSource:
    """OpenAssistant's prompts sampled under 134 reports' settings, one or two answers each.

    A run is a report and its sampling settings; the third part of its name is its limit. Some
    reports keep the model's end marker, which then counts three or four tokens.
    """
    prompts, index = _load_prompts(find(folder, "prompts.parquet"))
    path = find(folder, "lengths.parquet")
    table = read_table(path, ("pid", "model", "sample", "tok"))
    rows = _row_indices(path, table, index)
    samples = table["sample"].to_numpy().astype(np.int32)
    tokens = _lengths(path, "tok", table["tok"].to_numpy())
    runs = table["model"].to_pylist()
    names, inverse = np.unique(np.array(runs), return_inverse=True)
    blocks = []
    for number, name in enumerate(names.tolist()):
        chosen = np.flatnonzero(inverse == number)
        model, _, cap = name.rpartition("|")
        if not cap.isdigit() or int(cap) == 0:
            raise MalformedDataError(
                f"{path}: run {name!r} does not end in its token limit; fetch the file again"
            )
        blocks.append(_block(model, rows[chosen], samples[chosen], tokens[chosen], int(cap)))
    return RawSource(prompts=prompts, blocks=blocks)


def run_cap(tokens: NDArray[np.int32]) -> int | None:
    """The limit that an MMLU-Pro run was made with, which is not recorded: 256 or 2,048 tokens.

    It is the smallest one that at most 2 % of the answers pass by more than 6 % (the two
    tokenizers differ).
    """
    for cap in _MMLU_CAPS:
        if len(tokens) and float(np.mean(tokens > _OVER_CAP * cap)) <= _OVER_CAP_SHARE:
            return cap
    return None


def _no_cap(_: NDArray[np.int32]) -> int | None:
    return None


def _load_grid(folder: Path, prompt_file: str, length_file: str, cap_of: _Cap) -> RawSource:
    prompts, index = _load_prompts(find(folder, prompt_file))
    path = find(folder, length_file)
    table = read_table(path, ("pid",))
    rows = _row_indices(path, table, index)
    blocks = []
    for model in table.column_names:
        if model == "pid" or model.startswith("__"):
            continue
        column = table[model]
        present = np.flatnonzero(~column.is_null().to_numpy())
        tokens = _lengths(path, model, column.drop_null().to_numpy())
        answered = rows[present]
        blocks.append(_block(model, answered, count_samples(answered), tokens, cap_of(tokens)))
    return RawSource(prompts=prompts, blocks=blocks)


def _load_prompts(path: Path) -> tuple[list[RawPrompt], dict[str, int]]:
    table = read_table(path, ("pid", "prompt"))
    prompts: list[RawPrompt] = []
    index: dict[str, int] = {}
    for pid, text in zip(table["pid"].to_pylist(), table["prompt"].to_pylist(), strict=True):
        if not isinstance(pid, str) or not isinstance(text, str) or pid in index:
            raise MalformedDataError(
                f"{path}, row {len(prompts)}: 'pid' is repeated, or no text; fetch the file again"
            )
        index[pid] = len(prompts)
        prompts.append(RawPrompt(key=pid, request=from_prompt(text, "")))
    return prompts, index


def _row_indices(path: Path, table: pyarrow.lib.Table, index: dict[str, int]) -> NDArray[np.int32]:
    try:
        return np.array([index[pid] for pid in table["pid"].to_pylist()], dtype=np.int32)
    except KeyError as error:
        raise MalformedDataError(
            f"{path}: 'pid' {error} is not among the prompts; fetch both files again"
        ) from error


def _lengths(path: Path, column: str, values: NDArray[np.generic]) -> NDArray[np.int32]:
    if values.dtype.kind not in "iu" or (len(values) and int(values.min()) < 0):
        raise MalformedDataError(
            f"{path}: column {column!r} holds something else than whole numbers >= 0; "
            "fetch the file again"
        )
    return values.astype(np.int32)


def _block(
    model: str,
    prompts: NDArray[np.int32],
    samples: NDArray[np.int32],
    tokens: NDArray[np.int32],
    cap: int | None,
) -> AnswerBlock:
    censored = np.zeros(len(tokens), dtype=np.bool_) if cap is None else tokens >= CAP_SHARE * cap
    return AnswerBlock(
        model=model, prompts=prompts, samples=samples, tokens=tokens, censored=censored
    )
