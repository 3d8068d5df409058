"""A request as the stages hand it on."""

from dataclasses import dataclass

from alise_core.service_class import ServiceClass
from alise_core.units import ModelName, TenantId
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.content import ContentFields

RawHeaders = list[tuple[bytes, bytes]]
"""Header fields in arrival order; names in lower case."""


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """What one tenant may take up; ``None`` for no limit.

    Attributes:
        requests_per_minute: Requests that are let in, whatever becomes of them then.
        tokens_per_minute: Prompt tokens and output tokens together.
        max_waiting: Requests that wait.
        max_in_flight: Requests on backends.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_waiting: int | None = None
    max_in_flight: int | None = None


NO_LIMITS = TenantLimits()


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays for a request.

    Attributes:
        id: Stable name; the metric label.
        allowed_models: Models it may use; ``None`` means every model.
        may_schedule: It may send priority and fairness headers itself.
        weight: Its share of a class against other tenants'.
        default_class: Of requests that ask for none.
        highest_class: Requests that ask for a better one get this one.
        limits: What it may take up.
    """

    id: TenantId
    allowed_models: frozenset[str] | None = None
    may_schedule: bool = False
    weight: float = 1.0
    default_class: ServiceClass = ServiceClass.DEFAULT
    highest_class: ServiceClass = ServiceClass.DEFAULT
    limits: TenantLimits = NO_LIMITS


ANONYMOUS = Tenant(TenantId("anonymous"))
"""The tenant of every request when authentication is switched off."""


ALLOWED_MODELS = "alise.allowed_models"
"""ASGI scope key under which control endpoints find ``Tenant.allowed_models``."""


@dataclass(slots=True)
class HttpRequest:
    """One complete HTTP request as intake read it from the socket."""

    method: bytes
    path: bytes
    """Without the query."""
    query: bytes
    headers: RawHeaders
    body: bytes
    keep_alive: bool
    http_minor: int
    """0 or 1: HTTP/1.0 clients get no chunked framing."""
    endpoint: Endpoint | None
    """The inference endpoint, where the path is one."""

    def header(self, name: bytes) -> bytes | None:
        """Value of the first field called ``name`` (lower case)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(slots=True)
class InferenceRequest:
    """What intake understood of an inference request; the body's bytes stay as they came."""

    endpoint: Endpoint
    model: ModelName
    stream: bool
    max_tokens: int | None
    body: bytes
    injects_usage: bool = False
    """``include_usage`` is asked for upstream though the client did not; the extra chunk is
    withheld from it."""
    client_priority: bool = False
    """The body carries vLLM's ``priority`` field."""
    stated_xargs: bytes = b""
    """The body's ``vllm_xargs`` as they stand there; empty where there are none."""
    content: ContentFields | None = None
    """Where its texts are; let go of as soon as a prediction is made, because it holds the body."""
    service_tier: str | None = None
    """As the body states it; ``None`` where it does not."""
    tier_echo: str | None = None
    """The tier that the answer states; ``None`` where the answer travels as it came."""
