"""What intake expects of the pipeline: the seam between a socket and a request's life."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from alise_core.errors import RequestError
from alise_gateway.domain.request import HttpRequest, RawHeaders, Tenant
from alise_gateway.intake.head import Head


@dataclass(frozen=True, slots=True)
class Admission:
    """A head that was let in: its body may come."""

    head: Head
    tenant: Tenant
    arrival: float
    """Monotonic mark: the head is complete."""


class ClientSide(Protocol):
    """A client's connection, as whoever answers its current request sees it."""

    @property
    def takes_chunks(self) -> bool:
        """False for HTTP/1.0 clients: a body of unknown length ends by closing."""
        ...

    @property
    def keeps_alive(self) -> bool:
        """The connection stays open after the answer."""
        ...

    @property
    def write(self) -> Callable[[bytes], None]:
        """Sends bytes of the answer, head and framing included."""
        ...

    def end(self, data: bytes, *, keep_alive: bool) -> None:
        """Send the last bytes of the answer."""
        ...

    def cut(self) -> None:
        """The answer cannot be completed and its framing cannot say so: close at once."""
        ...

    def refuse(self, error: RequestError, extra: RawHeaders) -> None:
        """Answer with an error of the gateway."""
        ...

    def pass_error(self, status: int, fields: RawHeaders, body: bytes) -> None:
        """Answer with a backend's own error."""
        ...

    def abort(self) -> None:
        """Drop the client."""
        ...


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
    def is_leaving(self) -> bool:
        """The process is about to end: connections close after their answer."""
        ...

    def on_head(self, head: Head) -> Admission:
        """Decide by the head alone; raises RequestError to refuse."""
        ...

    def on_request(
        self, connection: ClientSide, request: HttpRequest, admission: Admission
    ) -> Exchange | None:
        """Take a whole request; answers through ``connection``."""
        ...

    def on_refused(self, error: RequestError, admission: Admission | None) -> None:
        """A request was refused before it was whole; for the books."""
        ...
