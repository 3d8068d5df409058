"""Which PodDisruptionBudgets stand in the way of taking a pod down. Pure.

A budget bounds evictions; a rolling update does not ask it. The operator does: what restarts pods
for its own reasons has to wait for whoever else restarts them.

Source: Kubernetes ``policy/v1``, ``PodDisruptionBudgetSpec.selector``: an empty one selects all
pods of its namespace, in ``policy/v1beta1`` none.
"""

from collections.abc import Iterable, Mapping

from alise_operator.canary.workload import Raw
from alise_operator.decide.raw import mapping_at, sequence_at, text_at

Labels = Mapping[str, object]


def blocking(
    budgets: Iterable[Raw], pods: Iterable[Labels], *, empty_selects_all: bool
) -> tuple[str, ...]:
    """Names of the budgets that are about one of the pods and allow no disruption now.

    Args:
        budgets: Of the pods' namespace, as the API server shows them.
        pods: Labels of each.
        empty_selects_all: As ``policy/v1`` has it.
    """
    labels = tuple(pods)
    return tuple(
        sorted(
            text_at(mapping_at(budget, "metadata"), "name")
            for budget in budgets
            if not _allows(budget)
            and any(_selects(budget, each, all_of=empty_selects_all) for each in labels)
        )
    )


def _allows(budget: Raw) -> bool:
    """It has been counted since it was written, and something is left of it."""
    status, metadata = mapping_at(budget, "status"), mapping_at(budget, "metadata")
    allowed = status.get("disruptionsAllowed")
    current = status.get("observedGeneration") == metadata.get("generation")
    return current and isinstance(allowed, int) and allowed > 0


def _selects(budget: Raw, labels: Labels, *, all_of: bool) -> bool:
    selector = mapping_at(budget, "spec").get("selector")
    if not isinstance(selector, Mapping):
        return False
    equal, terms = mapping_at(selector, "matchLabels"), sequence_at(selector, "matchExpressions")
    if not equal and not terms:
        return all_of
    return equal.items() <= labels.items() and all(_holds(term, labels) for term in terms)


def _holds(term: Raw, labels: Labels) -> bool:
    key, values = text_at(term, "key"), term.get("values")
    among = isinstance(values, list) and labels.get(key) in values
    match text_at(term, "operator"):
        case "In":
            return key in labels and among
        case "NotIn":
            return key not in labels or not among
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            # Not understood: rather wait than take a pod that somebody protects.
            return True
