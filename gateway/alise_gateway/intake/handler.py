"""What intake expects of the pipeline: the seam between a socket and a request's life."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from alise_core.errors import RequestError
from alise_gateway.domain.request import HttpRequest, Tenant
from alise_gateway.intake.head import Head

if TYPE_CHECKING:
    from alise_gateway.intake.connection import ClientConnection


@dataclass(frozen=True, slots=True)
class Admission:
    """A head that was let in: its body may come."""

    head: Head
    tenant: Tenant
    arrival: float
    """Monotonic mark: the head is complete."""


class Exchange(Protocol):
    """One request in progress."""

    def client_gone(self) -> None:
        """The client closed the connection; nothing may be sent any more."""
        ...

    def client_blocked(self, *, blocked: bool) -> None:
        """The client does not take bytes (or does again)."""
        ...

    def sweep(self, now: float) -> None:
        """Time has passed."""
        ...


class RequestHandler(Protocol):
    """The pipeline."""

    @property
    def is_draining(self) -> bool:
        """The process is shutting down: connections close after their answer."""
        ...

    def on_head(self, head: Head) -> Admission:
        """Decide by the head alone; raises RequestError to refuse."""
        ...

    def on_request(
        self, connection: "ClientConnection", request: HttpRequest, admission: Admission
    ) -> Exchange | None:
        """Take a whole request; answers through ``connection``."""
        ...

    def on_refused(self, error: RequestError, admission: Admission | None) -> None:
        """A request was refused before it was whole; for the books."""
        ...
