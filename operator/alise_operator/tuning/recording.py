"""One look of the tuner as a line of JSON, and back: what it saw, knew and decided. Pure.

There is nothing of any request in it: figures, settings, the names of pods, pools and models. The
same line decided again by another version says what that version would have done.
"""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.errors import AliseError
from alise_operator.tuning.memory import TunerMemory, memory_of
from alise_operator.tuning.observed import Observed
from alise_operator.tuning.plan import Plan


class NotRecorded(AliseError):
    """A line is none of a recording; the text says where and what is wrong."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided.

    Attributes:
        verdict: See ``plan.Verdict``.
        why: See ``plan.Why``.
        step: Knob, value before and after; empty where no setting changes.
        message: In words.
    """

    verdict: str
    why: str
    step: str
    message: str

    @property
    def essence(self) -> tuple[str, str, str]:
        """What is done and for which reason; figures may be told in other words."""
        return self.verdict, self.why, self.step


@dataclass(frozen=True, slots=True)
class Look:
    """One look.

    Attributes:
        at: Unix seconds.
        spec: The policy as far as it could be carried out.
        memory: As it was before.
        observed: What was seen.
        decided: What came of it.
    """

    at: float
    spec: KVCachePolicySpec
    memory: TunerMemory
    observed: Observed
    decided: Decided


def decided_of(plan: Plan) -> Decided:
    """What of a plan is compared."""
    step = plan.step
    said = "" if step is None else f"{step.knob} {step.before} -> {step.after}"
    return Decided(str(plan.verdict), str(plan.why), said, plan.message)


def line_of(look: Look) -> str:
    """One line, without its end."""
    raw = _Line(
        at=look.at,
        spec=look.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        memory=look.memory.to_json(),
        observed=look.observed,
        decided=look.decided,
    )
    return _LINE.dump_json(raw).decode()


def look_of(line: str, number: int) -> Look:
    """Read a line.

    Args:
        line: It.
        number: Of the line in its file, for what is said of it.

    Raises:
        NotRecorded: It is none.
    """
    try:
        raw = _LINE.validate_json(line)
        spec = KVCachePolicySpec.model_validate(raw.spec)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the line"
        raise NotRecorded(
            f"line {number}: {place}: {first['msg']}; give a file that an operator has written "
            "with tuner_record"
        ) from error
    return Look(raw.at, spec, memory_of(raw.memory), raw.observed, raw.decided)


@dataclass(frozen=True, slots=True)
class _Line:
    at: float
    spec: dict[str, Any]
    memory: str
    observed: Observed
    decided: Decided


_LINE = TypeAdapter(_Line)
