"""What conditions and reasons mean, for the documentation; every one of them, a test sees to it."""

from collections.abc import Mapping
from types import MappingProxyType

from alise_core.crds.conditions import ConditionType, Reason

CONDITION_MEANINGS: Mapping[ConditionType, str] = MappingProxyType(
    {
        ConditionType.ACCEPTED: "The spec is valid and in force. A policy is accepted while it is "
        "in force at one pool at least.",
        ConditionType.RESOLVED_REFS: "Everything that the spec names (Secrets, pools) exists and "
        "can be used.",
        ConditionType.READY: "A pool has an endpoint that can be sent requests.",
        ConditionType.PROGRESSING: "A change of settings is on its way through a pool.",
        ConditionType.DEGRADED: "A change was rolled back, or cannot go on.",
    }
)

REASON_MEANINGS: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.ACCEPTED: "The spec is in force.",
        Reason.INVALID: "The spec is wrong, the message says where; the last good one, if there "
        "was any, stays in force.",
        Reason.CONFLICTED: "Another policy governs every pool that this one is for.",
        Reason.TARGET_NOT_FOUND: "No pool that `targetRefs` names exists.",
        Reason.RESOLVED: "All of it was found.",
        Reason.REF_NOT_FOUND: "Something that the spec names does not exist, or lacks the entry.",
        Reason.REF_NOT_PERMITTED: "It may not be read: the role lacks the right, for Secrets by "
        "name (chart values).",
        Reason.NOT_CHECKED: "It was not looked for yet, or cannot be told without reading what is "
        "secret.",
        Reason.ENDPOINTS_READY: "Endpoints get requests; the column Ready says how many.",
        Reason.NO_ENDPOINTS: "The selector matches no pod.",
        Reason.NO_READY_ENDPOINTS: "There are pods, and none is ready.",
        Reason.IDLE: "No change is under way.",
        Reason.CANARY: "A change is tried on one pod.",
        Reason.ROLLING: "The canary has passed, the other pods follow.",
        Reason.ROLLED_BACK: "The canary failed; the message says which figure.",
        Reason.BLOCKED: "A change cannot go on, for a disruption budget or for somebody else's "
        "rollout.",
        Reason.HEALTHY: "Nothing failed.",
    }
)
