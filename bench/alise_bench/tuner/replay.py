"""Recorded looks of an operator, decided again: what this version, or another policy, would do.

Each look is decided from what was remembered then, so that one that is decided otherwise does not
change those after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import ValidationError

from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_core.errors import ConfigError
from alise_operator.tuning.decide import decide
from alise_operator.tuning.recording import Decided, NotRecorded, decided_of, look_of

_CHANGES = ("change", "recommend")


@dataclass(frozen=True, slots=True)
class Again:
    """One look, decided again.

    Attributes:
        at: Unix seconds.
        pool: ``NAMESPACE/NAME``.
        pressure: As it is seen now; ``None`` where the figures are not trusted.
        before: What was decided then.
        now: What is decided now.
    """

    at: float
    pool: str
    pressure: float | None
    before: Decided
    now: Decided

    @property
    def same(self) -> bool:
        """The same is done, for the same reason; figures may be told in other words."""
        return self.before.essence == self.now.essence

    @property
    def changes(self) -> bool:
        """A setting would change, then or now."""
        return self.before.verdict in _CHANGES or self.now.verdict in _CHANGES


def replay(file: Path, policy: KVCachePolicySpec | None) -> Iterator[Again]:
    """Decide every look of a file again, in its order.

    Args:
        file: That an operator has written, or is writing.
        policy: Instead of the one that was in force.

    Raises:
        ConfigError: The file cannot be read, or a line is none of a recording.
    """
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if number > 1 and not line.endswith("\n"):
                    break  # an operator that runs is still writing it
                look = look_of(line, number)
                spec = look.spec if policy is None else policy
                plan = decide(spec, look.observed, look.memory, look.at)
                pool = f"{look.observed.namespace}/{look.observed.pool}"
                yield Again(look.at, pool, plan.pressure, look.decided, decided_of(plan))
    except NotRecorded as error:
        raise ConfigError(f"--replay {file}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"--replay {file}: {reason}; give a file of tuner_record") from error


def read_policy(file: Path) -> KVCachePolicySpec:
    """A KVCachePolicy's spec, alone or in its object, as YAML or JSON.

    Raises:
        ConfigError: It cannot be read, or is none.
    """
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        return KVCachePolicySpec.model_validate(
            raw["spec"] if isinstance(raw, dict) and "spec" in raw else raw
        )
    except OSError as error:
        raise ConfigError(f"--policy {file}: {error.strerror}; give another file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--policy {file}: it is no YAML") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "spec"
        raise ConfigError(f"--policy {file}: {place}: {first['msg']}") from error


def lines_of(found: list[Again]) -> Iterator[str]:
    """What changed settings, what is decided otherwise, and how much of it there is."""
    for one in found:
        if one.same and not one.changes:
            continue
        when = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="seconds")
        mark = "same " if one.same else "OTHER"
        yield f"{mark} {when} {one.pool}: {_said(one.before)}"
        if not one.same:
            yield f"      now: {_said(one.now)}: {one.now.message}"
    pools = len({one.pool for one in found})
    same = sum(one.same for one in found)
    yield f"{len(found)} looks at {pools} pools: {same} the same, {len(found) - same} otherwise"


def document(found: list[Again]) -> dict[str, object]:
    """The same as JSON; looks that change nothing and are decided the same are only counted."""
    told = [one for one in found if not one.same or one.changes]
    return {
        "looks": len(found),
        "pools": sorted({one.pool for one in found}),
        "decided_the_same": sum(one.same for one in found),
        "told": [
            {
                "at": one.at,
                "pool": one.pool,
                "pressure": one.pressure,
                "same": one.same,
                "before": _json(one.before),
                "now": _json(one.now),
            }
            for one in told
        ],
    }


def _said(decided: Decided) -> str:
    return " ".join(filter(None, (decided.verdict, decided.why, decided.step)))


def _json(decided: Decided) -> dict[str, str]:
    return {
        "verdict": decided.verdict,
        "why": decided.why,
        "step": decided.step,
        "message": decided.message,
    }
