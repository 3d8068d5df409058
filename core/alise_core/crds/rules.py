"""Rules between the fields of one object: said once, for the API server and for us.

A rule is a method of a spec that says whether it holds, with the same in CEL beside it. The CEL
goes into the CRD (``x-kubernetes-validations``), so that ``kubectl apply`` is refused; the method
runs wherever a spec is read, so that an API server without CEL lets nothing wrong take effect.
Tests evaluate both on the same samples.

Source: Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions", validation rules.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

S = TypeVar("S")

VALIDATIONS = "x-kubernetes-validations"
FIELD_PATH = "fieldPath"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        cel: The rule in CEL; ``self`` is the object that the rule's class describes.
        message: What is wrong and what to do, after the field's name and value.
        field: The field at fault, camelCase, directly below the object; empty for the object.
        compared_with: A field whose value is shown after the message.
        holds: The rule in Python; takes the validated spec.
    """

    cel: str
    message: str
    field: str
    compared_with: str
    holds: Callable[[Any], bool]

    def as_validation(self) -> dict[str, str]:
        """One entry of ``x-kubernetes-validations``.

        The message names the field too: API servers before 1.28 know no ``fieldPath``.
        """
        message = f"{self.field} {self.message}".strip()
        path = {FIELD_PATH: f".{self.field}"} if self.field else {}
        return {"rule": self.cel, "message": message, **path}


def rule(
    cel: str, *, message: str, field: str = "", compared_with: str = ""
) -> Callable[[Callable[[S], bool]], Rule]:
    """Makes a rule of a method of a ``Spec``; see ``Rule`` for the arguments."""

    def declare(holds: Callable[[S], bool]) -> Rule:
        return Rule(cel, message, field, compared_with, holds)

    return declare


def rules_of(owner: type[object]) -> tuple[Rule, ...]:
    """The rules that a class declares and inherits, in the order of their declaration."""
    return tuple(
        item
        for level in reversed(owner.__mro__)
        for item in vars(level).values()
        if isinstance(item, Rule)
    )
