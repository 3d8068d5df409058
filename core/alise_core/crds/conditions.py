"""Conditions of a status: types and reasons as constants.

Source: Kubernetes API conventions, "Typical status properties"; Gateway API, GEP-1364.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from alise_core.crds.base import Spec, keyed_by


class ConditionType(StrEnum):
    """What a condition is about."""

    ACCEPTED = "Accepted"
    """The spec is valid and in force."""
    RESOLVED_REFS = "ResolvedRefs"
    """Everything that the spec names exists and can be used."""
    READY = "Ready"
    """A pool has an endpoint that can be sent requests."""
    PROGRESSING = "Progressing"
    """A change of settings is on its way through a pool."""
    DEGRADED = "Degraded"
    """A change was rolled back or cannot go on."""


class Reason(StrEnum):
    """Why a condition is as it is."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    """The spec is wrong; the last good one, if any, stays in force."""
    CONFLICTED = "Conflicted"
    """Another policy governs every target."""
    TARGET_NOT_FOUND = "TargetNotFound"
    RESOLVED = "ResolvedRefs"
    REF_NOT_FOUND = "RefNotFound"
    REF_NOT_PERMITTED = "RefNotPermitted"
    """RBAC does not let us read it."""
    NOT_CHECKED = "NotChecked"
    """It has not been looked for yet, or cannot be told without reading what is secret."""
    ENDPOINTS_READY = "EndpointsReady"
    NO_ENDPOINTS = "NoEndpoints"
    NO_READY_ENDPOINTS = "NoReadyEndpoints"
    IDLE = "Idle"
    CANARY = "Canary"
    ROLLING = "Rolling"
    ROLLED_BACK = "RolledBack"
    BLOCKED = "Blocked"
    HEALTHY = "Healthy"


class ConditionStatus(StrEnum):
    """As Kubernetes writes it."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Spec):
    """``metav1.Condition``."""

    type: ConditionType = Field(description="What the condition is about.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: Reason = Field(description="Why it is so, in one word for programs.")
    message: str = Field(
        default="", max_length=32_768, description="Why it is so, and what to do, for people."
    )
    observed_generation: int = Field(
        default=0, ge=0, description="metadata.generation of the spec that the condition is about."
    )
    last_transition_time: datetime = Field(description="When the status last changed.")


CONDITIONS = Field(
    default=(),
    max_length=16,
    json_schema_extra=keyed_by("type"),
    description="How the object stands, by aspect.",
)
OBSERVED_GENERATION = Field(
    default=0, ge=0, description="metadata.generation of the newest spec that was looked at."
)
