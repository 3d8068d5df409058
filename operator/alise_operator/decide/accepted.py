"""``Accepted`` where the spec is not valid: what kinds have in common. Pure."""

from collections.abc import Iterable

from alise_core.crds.conditions import ConditionType, Reason
from alise_operator.decide.conditions import Finding, false
from alise_operator.decide.references import enumerate_some

VALID = "The spec is valid"


def invalid(problems: Iterable[str], *, seen_good: bool) -> Finding:
    """The newest spec is wrong; what is in force instead is said as far as it is known.

    Args:
        problems: Field, value and remedy of each.
        seen_good: This operator has seen a good spec of the same object. Without it gateways may
            have seen one all the same: they keep their own memory.
    """
    if seen_good:
        in_force = "The last good spec stays in force."
    else:
        in_force = (
            "This operator has seen no good spec of it: gateways that have seen one keep it, "
            "others go on without this object."
        )
    message = f"{enumerate_some(list(problems))}. {in_force}"
    return false(ConditionType.ACCEPTED, Reason.INVALID, message)
