"""What the engine plugin is told of a request, put into its body; pure.

vLLM hands ``vllm_xargs`` of a body on to whatever runs in the engine. The rest of the body keeps
its bytes: the key goes to its end, where it also overrules an earlier one in every JSON parser
that engines use (the last of two counts, as ``intake.parse`` says).

Only backends that have the plugin get it: an engine that is no vLLM may refuse the key.
"""

from dataclasses import dataclass

_P50, _P90, _CLASS = b'"alise_p50":%d', b'"alise_p90":%d', b'"alise_class":%d'
_WHITESPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class EngineHints:
    """What is known of a request.

    Attributes:
        predicted_tokens: Output tokens that one choice does not exceed with probabilities 0.5 and
            0.9; at least 1. None where nothing is predicted.
        class_rank: 0 is served first. None where the request brings a priority of its own.
    """

    predicted_tokens: tuple[int, int] | None
    class_rank: int | None

    def members(self) -> bytes:
        """As members of a JSON object, without its braces; empty for nothing."""
        members = []
        if self.predicted_tokens is not None:
            members += [_P50 % self.predicted_tokens[0], _P90 % self.predicted_tokens[1]]
        if self.class_rank is not None:
            members.append(_CLASS % self.class_rank)
        return b",".join(members)


def with_hints(body: bytes, hints: EngineHints, stated: bytes, *, client_wins: bool) -> bytes:
    """The body with the hints in it.

    Args:
        body: A JSON object with at least one key.
        hints: What to put in.
        stated: The client's own ``vllm_xargs`` as they stand in the body; empty where there are
            none. Those that are no object are for the engine to refuse.
        client_wins: Of a hint that the client states too its own counts. Its other keys always
            stay.
    """
    members = hints.members()
    theirs = _members(stated)
    if not members or theirs is None:
        return body
    if theirs:
        members = members + b"," + theirs if client_wins else theirs + b"," + members
    # The object's end is the last brace: behind it there is white space at most.
    end = body.rindex(b"}")
    view = memoryview(body)  # of which slices are no copies
    return b"".join((view[:end], b',"vllm_xargs":{', members, b"}", view[end:]))


def _members(stated: bytes) -> bytes | None:
    """What stands between the braces; None where it is no object."""
    stated = stated.strip(_WHITESPACE)
    if stated in {b"", b"null"}:
        return b""
    if not stated.startswith(b"{"):
        return None
    return stated[1:-1].strip(_WHITESPACE)
