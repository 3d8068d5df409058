"""What a backend's answer to ``GET /alise/ready`` says: pure.

The engine plugin answers 200 or 503 and names itself. Servers without it answer something else, as
a rule 404; one that answers the same by chance is believed about draining, since 503 is what
readiness probes go by, but not taken for one that has the plugin.
"""

from dataclasses import dataclass

import msgspec

_OK, _UNAVAILABLE = 200, 503
_NAME = "alise"


class _Ready(msgspec.Struct):
    plugin: str = ""
    orders: bool = False


_decode = msgspec.json.Decoder(_Ready).decode


@dataclass(frozen=True, slots=True)
class PluginAnswer:
    """What is known of a backend now.

    Attributes:
        has_route: It is worth asking again.
        is_draining: It wants no new requests.
        has_plugin: The engine plugin runs there.
        orders_itself: With its scheduler, which orders what waits and preempts.
    """

    has_route: bool
    is_draining: bool
    has_plugin: bool
    orders_itself: bool = False


NO_ROUTE = PluginAnswer(has_route=False, is_draining=False, has_plugin=False)


def parse_ready(status: int, body: bytes) -> PluginAnswer:
    """Understand an answer, whatever it is.

    Args:
        status: Of HTTP.
        body: Of the answer.
    """
    if status not in {_OK, _UNAVAILABLE}:
        return NO_ROUTE
    said = _read(body)
    is_ours = said.plugin == _NAME
    return PluginAnswer(True, status == _UNAVAILABLE, is_ours, is_ours and said.orders)


def _read(body: bytes) -> _Ready:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Ready()
