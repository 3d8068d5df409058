"""A backend as the gateway sees it: what it is, and how it is doing."""

from dataclasses import dataclass, field
from enum import StrEnum

from alise_core.policy import AdmissionPolicy
from alise_core.units import BackendName
from alise_gateway.domain.admission import Admission
from alise_gateway.domain.breaker import CircuitBreaker
from alise_gateway.domain.cost_model import CostModel


class ProbeState(StrEnum):
    """What active probing says."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class BackendAddress:
    """Where a backend listens."""

    name: BackendName
    host: str
    port: int
    tls: bool = False
    base_path: str = ""
    """Prefix of every request target, without a trailing slash."""
    api_key: str | None = field(default=None, repr=False)
    """Sent as Bearer credential; never logged."""

    @property
    def url(self) -> str:
        """Base URL for httpx."""
        scheme = "https" if self.tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.base_path}"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One entry of a backend's ``/v1/models``."""

    name: str
    max_model_len: int | None
    created: int
    owned_by: str


@dataclass(slots=True, eq=False)
class Backend:
    """Live state of one backend.

    Written on the event loop only: ``address``, ``models``, ``probe``, ``has_plugin``, ``is_ready``
    and the figures in ``admission`` by discovery, ``in_flight`` and the ledger in ``admission`` by
    queueing, the breaker and the cost model by the pipeline; read by everybody.
    """

    address: BackendAddress
    max_in_flight: int
    breaker: CircuitBreaker
    models: dict[str, ServedModel] = field(default_factory=dict)
    probe: ProbeState = ProbeState.UNKNOWN
    probe_error: str | None = None
    has_plugin: bool = False
    """The engine plugin runs there: it may be told what is known of a request."""
    is_ready: bool = True
    """Who listed it lets new requests go there; a pod that has lost readiness gets none."""
    in_flight: int = 0
    removed: bool = False
    """Discovery no longer lists it; requests in flight may finish."""
    cost: CostModel = field(default_factory=CostModel)
    """How long work takes there."""
    sent_at: float = float("-inf")
    """Monotonic seconds at which it was last sent a request; written by placement."""
    prefill_until: float = 0.0
    """Monotonic seconds at which it will be done with the prompts that it was sent; written by
    placement."""
    admission_policy: AdmissionPolicy = field(default_factory=AdmissionPolicy)
    admission: Admission = field(init=False)
    """How much more it may be given."""

    def __post_init__(self) -> None:
        self.admission = Admission(self.admission_policy)

    @property
    def name(self) -> BackendName:
        """The name that logs and metrics show."""
        return self.address.name

    @property
    def batch(self) -> float:
        """Requests that it serves at a time, those of other gateways included."""
        return self.in_flight + self.admission.room.others

    def is_usable(self, now: float) -> bool:
        """Whether it may be sent requests at all (``now``: monotonic seconds)."""
        return (
            self.probe is ProbeState.HEALTHY
            and self.is_ready
            and not self.removed
            and self.breaker.allows(now)
        )


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer of a placement.

    Attributes:
        backend: Where the request goes; ``None`` for nowhere now.
        usable: Some backend could serve it, if it had room.
    """

    backend: Backend | None
    usable: bool
