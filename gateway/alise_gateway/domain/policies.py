"""Which scheduling policy is for which model. Pure values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from alise_core.policy import SchedulingPolicy

_NONE: Mapping[str, SchedulingPolicy] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Policies:
    """What is in force.

    Attributes:
        default: For every model without a policy of its own.
        by_model: Of served models, by name.
    """

    default: SchedulingPolicy = field(default_factory=SchedulingPolicy)
    by_model: Mapping[str, SchedulingPolicy] = field(default_factory=lambda: _NONE)

    def of(self, model: str) -> SchedulingPolicy:
        """The policy of a served model."""
        return self.by_model.get(model, self.default)

    def of_backend(self, models: Iterable[str]) -> SchedulingPolicy:
        """The policy of a backend, by which it is given requests.

        A backend has one memory, so of models under different policies one decides: the first that
        has a policy of its own.

        Args:
            models: That it serves, in its own order.
        """
        own = (self.by_model.get(model) for model in models)
        return next(filter(None, own), self.default)
