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


_decode = msgspec.json.Decoder(_Ready).decode


@dataclass(frozen=True, slots=True)
class PluginAnswer:
    """What is known of a backend now.

    Attributes:
        has_route: It is worth asking again.
        is_draining: It wants no new requests.
        has_plugin: The engine plugin runs there.
    """

    has_route: bool
    is_draining: bool
    has_plugin: bool


NO_ROUTE = PluginAnswer(has_route=False, is_draining=False, has_plugin=False)


def parse_ready(status: int, body: bytes) -> PluginAnswer:
    """Understand an answer, whatever it is.

    Args:
        status: Of HTTP.
        body: Of the answer.
    """
    if status not in {_OK, _UNAVAILABLE}:
        return NO_ROUTE
    return PluginAnswer(True, status == _UNAVAILABLE, _names_itself(body))


def _names_itself(body: bytes) -> bool:
    try:
        return _decode(body).plugin == _NAME
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
