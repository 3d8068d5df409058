"""Lengths with the answering model's verbosity taken out.

``log(1 + tokens) = level(prompt) + offset(dataset, model) + noise``: one predictor serves many
models, so it learns ``level``; what a model adds is known from a table or learned in place.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

_SHRINKAGE = 3.0
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Levels:
    """Fitted decomposition.

    Attributes:
        level: Of each prompt, ``(prompts,)``; NaN where a prompt has no answer.
        offset: Of each group, ``(groups,)``; mean 0 over the groups of one dataset, weighted by
            answers.
        answers: Number of answers of each prompt, ``(prompts,)``.
    """

    level: Floats
    offset: Floats
    answers: Ints


def fit_levels(prompt: Ints, group: Ints, family: Ints, log_tokens: Floats, prompts: int) -> Levels:
    """Alternating least squares; offsets are shrunk towards 0 by three answers' worth.

    Args:
        prompt: Prompt of each answer.
        group: (dataset, model) of each answer, numbered from 0.
        family: Dataset of each group, ``(groups,)``.
        log_tokens: ``log(1 + tokens)`` of each answer.
        prompts: Number of prompts.
    """
    groups = len(family)
    per_prompt = np.bincount(prompt, minlength=prompts)
    per_group = np.bincount(group, minlength=groups).astype(np.float64)
    offset = np.zeros(groups)
    level = np.full(prompts, np.nan)
    has = per_prompt > 0
    for _ in range(_ROUNDS):
        sums = np.bincount(prompt, log_tokens - offset[group], minlength=prompts)
        level[has] = sums[has] / per_prompt[has]
        residual = np.bincount(group, log_tokens - level[prompt], minlength=groups)
        offset = residual / (per_group + _SHRINKAGE)
        weight = np.bincount(family, per_group)
        mean = np.bincount(family, offset * per_group) / np.maximum(weight, 1.0)
        offset = offset - mean[family]
    return Levels(level, offset, per_prompt.astype(np.int32))
