"""One HTTP question to one backend, with an end to its time and its size.

What a peer can do wrong (refuse, hang, trickle, answer too much) comes out as ``ProbeFailed`` with
a short reason; nothing else does. Reasons go to logs and to the admin API, so they carry no bytes
of the answer.
"""

import asyncio
from collections.abc import Callable

import httpx

from alise_core.errors import AliseError
from alise_gateway.domain.backend import BackendAddress

MAX_BYTES = 4 * 1024 * 1024
"""Thousands of models with vLLM's permission lists fit."""
_MAX_REASON_CHARS = 200
_KEPT_CONNECTION_SECONDS = 4.0
"""Below uvicorn's 5 s, so that the prober and not the backend closes an idle connection."""

ClientFactory = Callable[[], httpx.AsyncClient]


class ProbeFailed(AliseError):
    """A backend did not answer a probe as it should; the text is the reason."""


def client_factory() -> ClientFactory:
    """Makes clients for probing, each for one backend; nothing of the environment's is used.

    One for each, because httpx looks through all connections of a client before every request, and
    for each idle one through all of them again: what a request costs would grow with the
    square of the number of backends.
    """
    # Reading the certificate authorities is what is expensive of a client.
    trust = httpx.create_ssl_context(trust_env=False)
    limits = httpx.Limits(keepalive_expiry=_KEPT_CONNECTION_SECONDS)

    def create_client() -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(verify=trust, limits=limits, trust_env=False)
        # ``fetch`` bounds the whole exchange, which httpx's timeouts per read do not.
        return httpx.AsyncClient(transport=transport, timeout=None, trust_env=False)  # noqa: S113

    return create_client


async def fetch(
    client: httpx.AsyncClient, address: BackendAddress, path: str, timeout_seconds: float
) -> tuple[int, bytes]:
    """``GET`` a path of a backend.

    Returns: Status and body.

    Raises:
        ProbeFailed: No complete answer of at most ``MAX_BYTES`` within the time.
    """
    # Unencoded, because a few compressed bytes can stand for many.
    headers = {"accept-encoding": "identity"}
    if address.api_key is not None:
        headers["authorization"] = f"Bearer {address.api_key}"
    body = bytearray()
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            client.stream("GET", address.url + path, headers=headers) as response,
        ):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ProbeFailed(f"GET {path}: the answer is larger than {MAX_BYTES} bytes")
    except TimeoutError:
        raise ProbeFailed(f"GET {path}: no answer within {timeout_seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
        reason = f"GET {path}: {type(error).__name__}: {error}"
        raise ProbeFailed(reason[:_MAX_REASON_CHARS]) from error
    return response.status_code, bytes(body)
