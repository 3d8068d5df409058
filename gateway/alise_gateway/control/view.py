"""What the control endpoints need to know, as the stage that asks declares it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.backend_load import BackendLoad
from alise_gateway.domain.breaker import BreakerState
from alise_gateway.domain.prediction import LearnedFigures


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether new requests should be sent here.

    Attributes:
        ready: At least one usable backend, and not draining.
        reasons: Why not, for people; empty when ready. Names no address and no key.
    """

    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model that clients can name.

    Attributes:
        id: The name that clients use; may contain slashes.
        created: Unix seconds, as the backends report it.
        owned_by: As the backends report it.
        max_model_len: Context length in tokens, the smallest among the backends.
    """

    id: str
    created: int
    owned_by: str
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One backend, right now.

    Attributes:
        name: As logs and metrics show it.
        url: Base URL, without credentials.
        probe: What active probing says.
        probe_error: Why probing is not content.
        has_plugin: The engine plugin runs there.
        breaker: What the circuit breaker allows.
        usable: A request may be dispatched to it.
        in_flight: Requests dispatched and not finished.
        max_in_flight: The limit of ``in_flight``.
        models: Names it serves.
        load: How much of it is taken.
    """

    name: str
    url: str
    probe: ProbeState
    breaker: BreakerState
    usable: bool
    in_flight: int
    max_in_flight: int
    probe_error: str | None = None
    has_plugin: bool = False
    models: tuple[str, ...] = ()
    load: BackendLoad = field(default_factory=BackendLoad)


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The gateway's queue, right now.

    Attributes:
        waiting: Requests in the queue.
        waiting_by_class: The same, by service class.
        ordering: Which of them is next, of models without a policy of their own.
        max_waiting: The limit of ``waiting`` for all of these together.
        in_flight: Requests dispatched and not finished, over all backends.
        oldest_wait_seconds: Wait of the request that has waited longest; ``None`` if none waits.
        draining: Nothing new is admitted.
        ordering_by_model: Which is next, of each model with a policy of its own.
    """

    waiting: int
    waiting_by_class: Mapping[str, int]
    ordering: str
    max_waiting: int
    in_flight: int
    oldest_wait_seconds: float | None = None
    draining: bool = False
    ordering_by_model: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PredictorStatus:
    """The length predictor, right now.

    Attributes:
        enabled: Requests are predicted.
        name: Of the bundle; ``None`` where none could be loaded.
        version: Of the bundle.
        tiers: The bundle's tiers that are in use.
        error: Why the bundle that was looked at last is not in use.
        learned_pairs: Pairs of tenant and model that something was learned about.
        learned_bytes: Memory of it.
        learning_backlog: Finished answers not learned from yet.
        refinement_backlog: Waiting requests whose refinement is due.
        learned: Figures of the pairs used last.
    """

    enabled: bool
    name: str | None = None
    version: str | None = None
    tiers: tuple[str, ...] = ()
    error: str | None = None
    learned_pairs: int = 0
    learned_bytes: int = 0
    learning_backlog: int = 0
    refinement_backlog: int = 0
    learned: tuple[LearnedFigures, ...] = ()


class ControlView(Protocol):
    """The gateway as its control endpoints see it; every call is quick and runs on the loop."""

    def readiness(self) -> Readiness:
        """Whether new requests should come."""
        ...

    def models(self) -> list[ModelCard]:
        """Everything that can be named in a request, aliases included."""
        ...

    def backends(self) -> list[BackendStatus]:
        """Every backend that discovery lists."""
        ...

    def queue(self) -> QueueStatus:
        """The queue."""
        ...

    def predictor(self) -> PredictorStatus:
        """The length predictor."""
        ...

    def render_metrics(self, accept: str | None) -> tuple[bytes, str]:
        """One exposition and its content type."""
        ...

    def start_drain(self) -> None:
        """Stop admitting; what is running may finish. Calling it again changes nothing."""
        ...
