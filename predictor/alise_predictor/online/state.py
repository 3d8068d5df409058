"""What a part of online learning hands to a snapshot, and takes back from one."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
State = dict[str, Array]
"""Named arrays; everything a part has to remember."""


class StateError(ValueError):
    """A part was given a state that it cannot have written."""


def take(state: Mapping[str, Array], name: str, kind: type, *shape: int | None) -> Array:
    """One array of a state, checked.

    Args:
        state: What was read.
        name: Which array.
        kind: Expected numpy scalar type.
        shape: Expected extent of each dimension; ``None`` for any.

    Raises:
        StateError: It is missing, or has another type or shape, or is not finite.
    """
    array = state.get(name)
    if array is None:
        raise StateError(f"{name!r} is missing")
    fits = array.ndim == len(shape) and all(
        expected in {None, extent} for expected, extent in zip(shape, array.shape, strict=True)
    )
    if array.dtype != np.dtype(kind) or not fits:
        raise StateError(f"{name!r} is {array.dtype} {array.shape}, expected {kind} {shape}")
    if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
        raise StateError(f"{name!r} is not finite")
    return array.copy()


def nested(prefix: str, state: State) -> State:
    """A part's state under a prefix."""
    return {f"{prefix}.{name}": array for name, array in state.items()}


def within(prefix: str, state: Mapping[str, Array]) -> State:
    """What ``nested`` put under a prefix."""
    start = f"{prefix}."
    return {name[len(start) :]: a for name, a in state.items() if name.startswith(start)}


class Part(Protocol):
    """A part of online learning that can be written down and read back."""

    def state(self) -> State:
        """For a snapshot."""
        ...

    def load(self, state: Mapping[str, Array]) -> None:
        """From a snapshot, into a part that has learned nothing yet.

        Raises:
            StateError: It is not what ``state`` writes.
        """
        ...
