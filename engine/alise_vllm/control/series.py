"""The engine's state as Prometheus series ``alise_engine_*``; pure.

A part's numbers become ``alise_engine_PART_KEY``: a counter where the key ends in ``_total``, else
a gauge. A mapping of numbers becomes one series with the label ``of``; a text becomes
``..._info`` with the label ``value``. Everything else is left to ``/alise/state``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alise_vllm.tunable import Json

PREFIX = "alise_engine"
MOST_SERIES = 500
"""Of one engine; a part that shows more (a line for each request, say) is cut."""
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]+")
_MOST_COUNTED = 1e300
"""Integers have no end in Python; floats have."""
_LABEL_CHARS = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """One number.

    Attributes:
        name: Of its family; a counter's ends in ``_total``.
        value: Finite.
        labels: Beside ``engine``.
    """

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def is_counter(self) -> bool:
        """It only rises while the engine lives."""
        return self.name.endswith("_total")


def samples(states: Sequence[Mapping[str, Json]]) -> dict[str, list[Sample]]:
    """Families of samples by name, in the order in which they are found.

    Args:
        states: Of each engine, as ``Panel.state`` gives them; the place is the label ``engine``.
    """
    families: dict[str, list[Sample]] = {}
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for rank, state in enumerate(states):
        taken = 0
        for sample in _of_engine(state):
            labelled = Sample(sample.name, sample.value, (("engine", str(rank)), *sample.labels))
            # Two keys may come to one name; a page with both is refused as a whole.
            if taken < MOST_SERIES and (labelled.name, labelled.labels) not in seen:
                seen.add((labelled.name, labelled.labels))
                families.setdefault(sample.name, []).append(labelled)
                taken += 1
    return families


def _of_engine(state: Mapping[str, Json]) -> Iterator[Sample]:
    for part, values in state.items():
        if isinstance(values, Mapping):
            for key, value in values.items():
                yield from _of_value(f"{PREFIX}_{_word(part)}_{_word(str(key))}", value)


def _of_value(name: str, value: Json) -> Iterator[Sample]:
    if _is_number(value):
        yield Sample(name, float(value))  # type: ignore[arg-type]
    elif isinstance(value, str):
        yield Sample(f"{name}_info", 1.0, (("value", value[:_LABEL_CHARS]),))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if _is_number(item):
                yield Sample(name, float(item), (("of", str(key)[:_LABEL_CHARS]),))


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and abs(value) < _MOST_COUNTED


def _word(text: str) -> str:
    return _NO_NAME.sub("_", text)
