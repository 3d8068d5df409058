"""What the tuner reports of pools becomes part of their policy's status. Pure.

The tuner says how each pool stands; here that is put together per policy: lines for each pool,
columns of the pool under most pressure, conditions of the worst.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from alise_core.crds.conditions import ConditionStatus, ConditionType
from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import PoolTuningStatus
from alise_operator.decide.announcements import Announcement
from alise_operator.decide.conditions import Finding
from alise_operator.decide.status import Json


@dataclass(frozen=True, slots=True)
class TuningReport:
    """How one pool stands.

    Attributes:
        pool: Which.
        status: Its line in ``status.pools``.
        findings: ``Progressing`` and ``Degraded``, as far as there is something to say.
        announcements: Events of this look, told once.
        pressure: Of this look, which may be newer than that of the line; ``None`` where its
            figures are not trusted.
    """

    pool: PoolRef
    status: PoolTuningStatus
    findings: tuple[Finding, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    pressure: float | None = None


def tuning_fields(reports: Sequence[TuningReport]) -> dict[str, Json]:
    """The fields of a KVCachePolicy's status that speak of tuning."""
    ordered = sorted(reports, key=lambda report: (report.pool.kind.value, report.pool.name))
    hottest = max(ordered, key=lambda report: report.status.pressure or 0.0, default=None)
    recent = max(
        (report.status.last_action for report in ordered if report.status.last_action is not None),
        key=lambda action: action.time,
        default=None,
    )
    pressure = None if hottest is None else hottest.status.pressure
    return {
        # Without nulls, which the API server does not keep: they would differ for ever.
        "pools": [
            report.status.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            for report in ordered
        ],
        "rung": (hottest.status.rung or None) if hottest else None,
        "pressure": None if pressure is None else f"{pressure:.2f}",
        "lastAction": None if recent is None else recent.action,
    }


def tuning_findings(reports: Sequence[TuningReport]) -> tuple[Finding, ...]:
    """One finding per type: of a pool of which it is true, else of the first that has one."""
    found: dict[ConditionType, Finding] = {}
    for report in sorted(reports, key=lambda report: report.pool.name):
        for finding in report.findings:
            known = found.get(finding.type)
            if known is None or _is_worse(finding, known):
                found[finding.type] = finding
    return tuple(found.values())


def _is_worse(finding: Finding, known: Finding) -> bool:
    return finding.status is ConditionStatus.TRUE and known.status is not ConditionStatus.TRUE
