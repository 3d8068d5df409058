"""What ``kubectl get`` shows of each kind; the columns of ``-o wide`` last."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from alise_core.crds.names import Kind


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Its heading.
        path: JSONPath of the value.
        description: For ``kubectl`` and the documentation.
        type: Of the value, as OpenAPI names it.
        wide: It is shown by ``-o wide`` only.
    """

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False

    def as_printer_column(self) -> dict[str, object]:
        """One entry of ``additionalPrinterColumns``."""
        wide = {"priority": 1} if self.wide else {}
        return {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            "description": self.description,
            **wide,
        }


def _condition(name: str, type_: str, description: str, *, field: str = "status") -> Column:
    return Column(name, f'.status.conditions[?(@.type=="{type_}")].{field}', description)


_ACCEPTED = _condition("Accepted", "Accepted", "Whether the spec is valid and in force.")
_REASON = _condition("Reason", "Accepted", "Why it is accepted or not.", field="reason")
_AGE = Column("Age", ".metadata.creationTimestamp", "Time since it was created.", "date")

COLUMNS: Mapping[Kind, tuple[Column, ...]] = MappingProxyType(
    {
        Kind.MODEL_POOL: (
            Column("Ready", ".status.endpointsReady", "Endpoints that get requests / all of them."),
            Column("KV-Tokens", ".status.kvCapacityTokens", "KV cache of them all.", "integer"),
            Column("Scheduling", ".status.schedulingPolicy", "The SchedulingPolicy in force."),
            Column("KV-Policy", ".status.kvCachePolicy", "The KVCachePolicy in force."),
            _ACCEPTED,
            _AGE,
            Column("Models", ".status.models", "What the endpoints serve.", wide=True),
            Column("Dtypes", ".status.kvCacheDtypes", "KV cache dtypes in use.", wide=True),
            Column("Pods-From", ".spec.inferencePoolRef.name", "Its InferencePool.", wide=True),
        ),
        Kind.SCHEDULING_POLICY: (
            Column("Ordering", ".spec.ordering.name", "Which request of a tenant is next."),
            _ACCEPTED,
            _REASON,
            _AGE,
            Column(
                "Quantile",
                ".spec.admission.quantile",
                "Of the predicted length at which KV memory is reserved.",
                "number",
                wide=True,
            ),
            Column(
                "Max-Waiting",
                ".spec.queue.maxWaiting",
                "Requests that may wait for one model.",
                "integer",
                wide=True,
            ),
        ),
        Kind.KV_CACHE_POLICY: (
            Column("Mode", ".spec.mode", "Whether changes are made or recommended."),
            Column("Rung", ".status.rung", "Settings of the pool under most pressure."),
            Column("Pressure", ".status.pressure", "Pressure of that pool."),
            Column("Last-Action", ".status.lastAction", "What was done or recommended last."),
            _ACCEPTED,
            _condition("Degraded", "Degraded", "Whether a change failed or cannot go on."),
            _AGE,
            Column("Dtypes", ".spec.dtypes.ladder", "Dtypes that may be used.", wide=True),
        ),
        Kind.TENANT: (
            Column("Weight", ".spec.weight", "Share of a class.", "number"),
            Column("Highest", ".spec.highestClass", "The best class it can get."),
            _condition("Keys", "ResolvedRefs", "Whether the Secrets of its keys exist."),
            _ACCEPTED,
            _AGE,
            Column(
                "Requests/min",
                ".spec.limits.requestsPerMinute",
                "Its limit at all gateways together.",
                "number",
                wide=True,
            ),
            Column(
                "Tokens/min",
                ".spec.limits.tokensPerMinute",
                "Its limit at all gateways together.",
                "number",
                wide=True,
            ),
        ),
    }
)
