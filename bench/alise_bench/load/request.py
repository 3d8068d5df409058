"""Requests as the bytes that go onto the wire, made before the clock runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server under load listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read ``http://host:port``.

        Raises:
            ValueError: Another scheme, or no host or port.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"{url!r} must look like http://host:port")
        return cls(parts.hostname, parts.port)

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One request ready to be sent.

    Attributes:
        wire: Head and body.
        streamed: The reply is a stream of events that ends in ``[DONE]``.
        reads_usage: Parse the end of the reply for tokens and errors; costs the load generator
            some microseconds.
    """

    wire: bytes
    streamed: bool = False
    reads_usage: bool = False


def post(
    address: Address, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> bytes:
    """HTTP/1.1 bytes of a JSON POST on a connection that stays open."""
    return _head("POST", address, path, {**(headers or {}), "content-length": str(len(body))}) + (
        body
    )


def get(address: Address, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """HTTP/1.1 bytes of a GET."""
    return _head("GET", address, path, headers or {})


def _head(method: str, address: Address, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"host: {address.host}:{address.port}"]
    if method == "POST":
        lines.append("content-type: application/json")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
