"""Service classes: which requests go before which, whoever predicts what.

A class is a band that predicted cost never crosses. What a client asks for (OpenAI's
``service_tier``, llm-d's inference objectives) is mapped here to a class, and a class back to the
tier that a reply states.

Source: OpenAI API reference, ``service_tier`` of chat completions and responses (auto, default,
flex, scale, priority); llm-d ``InferenceObjective.spec.priority`` (higher is more important, unset
is 0, negative may be shed).
"""

from enum import StrEnum


class ServiceClass(StrEnum):
    """From the first served to the last; the value is the metric label."""

    PRIORITY = "priority"
    SCALE = "scale"
    DEFAULT = "default"
    FLEX = "flex"
    BATCH = "batch"

    @property
    def rank(self) -> int:
        """0 for the first served."""
        return _RANKS[self]

    def clamped(self, highest: "ServiceClass") -> "ServiceClass":
        """This class, or ``highest`` where this one is served before it."""
        return self if self.rank >= highest.rank else highest

    @property
    def tier(self) -> str:
        """The ``service_tier`` that a reply states; batch work is OpenAI's flex."""
        return "flex" if self is ServiceClass.BATCH else str(self)


_RANKS = {item: rank for rank, item in enumerate(ServiceClass)}

SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority"})
"""What ``service_tier`` may say; ``auto`` leaves the choice to the tenant's settings."""


def class_of_tier(tier: str | None, default: ServiceClass) -> ServiceClass:
    """The class that a request's ``service_tier`` asks for.

    Args:
        tier: One of ``SERVICE_TIERS``, or ``None`` where the request does not say.
        default: Of the tenant.
    """
    return default if tier is None or tier == "auto" else ServiceClass(tier)


def class_of_objective(priority: int, default: ServiceClass) -> ServiceClass:
    """The class of an inference objective's priority: positive, 0 (unset), or negative."""
    if priority == 0:
        return default
    return ServiceClass.PRIORITY if priority > 0 else ServiceClass.BATCH
