"""Has the traffic changed? Where answers fall among the base's quantiles, lately and before."""

from collections import deque
from collections.abc import Mapping, Sequence
from math import log

import numpy as np

from alise_core.prediction import LEVELS
from alise_predictor.online.state import Array, State, StateError, take

HALF = 250
"""Answers in each of the two windows."""

_CELLS = len(LEVELS) + 1
_PSEUDO = 0.5


class PopulationStability:
    """Population stability index of two adjacent windows of answers.

    Usual reading: below .1 stable, above .25 changed. It is taken over the base's quantiles and not
    the corrected ones: correction follows the traffic and would hide what it follows.
    """

    __slots__ = ("_before", "_before_counts", "_lately", "_lately_counts")

    def __init__(self) -> None:
        self._lately: deque[int] = deque()
        self._before: deque[int] = deque()
        self._lately_counts = [0] * _CELLS
        self._before_counts = [0] * _CELLS

    def update(self, base_quantiles: Sequence[float], log_tokens: float) -> None:
        """Learn one answer, ``log(1 + tokens)``."""
        self._push(sum(value < log_tokens for value in base_quantiles))

    def value(self) -> float | None:
        """The index; ``None`` until both windows are full."""
        if len(self._before) < HALF:
            return None
        total = HALF + _PSEUDO * _CELLS
        index = 0.0
        for lately, before in zip(self._lately_counts, self._before_counts, strict=True):
            p, q = (lately + _PSEUDO) / total, (before + _PSEUDO) / total
            index += (p - q) * log(p / q)
        return index

    def state(self) -> State:
        """For a snapshot."""
        return {"cells": np.array([*self._before, *self._lately], np.uint8)}

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        cells = take(state, "cells", np.uint8, None)
        if len(cells) > 2 * HALF or (len(cells) and int(cells.max()) >= _CELLS):
            raise StateError("cells out of range")
        for cell in cells:
            self._push(int(cell))

    def _push(self, cell: int) -> None:
        self._lately.append(cell)
        self._lately_counts[cell] += 1
        if len(self._lately) <= HALF:
            return
        moved = self._lately.popleft()
        self._lately_counts[moved] -= 1
        self._before.append(moved)
        self._before_counts[moved] += 1
        if len(self._before) > HALF:
            self._before_counts[self._before.popleft()] -= 1
