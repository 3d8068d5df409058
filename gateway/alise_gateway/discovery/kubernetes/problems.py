"""What is wrong with an object, for people. Pure."""

from dataclasses import dataclass

from alise_core.crds.names import Kind


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is not as its owner wished.

    Attributes:
        kind: Of the object.
        namespace: Of the object.
        name: Of the object.
        message: What is wrong, and what helps; no secrets.
    """

    kind: str
    namespace: str
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}: {self.message}"


def invalid(kind: Kind, namespace: str, name: str, problems: tuple[str, ...]) -> list[Problem]:
    """Those of a spec that does not validate."""
    return [Problem(kind.value, namespace, name, message) for message in problems]
