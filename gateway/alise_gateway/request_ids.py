"""The two ids of a request: the client's and the engine's."""

import os
import re
from dataclasses import dataclass

from alise_core.wire import headers as names
from alise_gateway.domain.request import HttpRequest

_CLIENT_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:@+=/-]{1,128}")


@dataclass(frozen=True, slots=True)
class RequestIds:
    """See the module.

    Attributes:
        shown: In the reply, in logs and traces: the client's own where it sent a usable one.
        engine: On the way to the backend.
    """

    shown: bytes
    engine: bytes


def choose_ids(request: HttpRequest) -> RequestIds:
    """Ids for one request.

    An engine needs ids that differ among its requests, which clients do not promise; the
    engine's begins with the client's, so that both logs are found by the same text.
    """
    given = request.header(names.REQUEST_ID)
    unique = os.urandom(12).hex().encode()
    if given is None or not _CLIENT_REQUEST_ID.fullmatch(given):
        return RequestIds(unique, unique)
    return RequestIds(given, given + b"-" + unique[:8])
