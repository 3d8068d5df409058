"""What a request shares with earlier ones, reduced to hashes. Values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Affinity:
    """Where a request's KV may already lie.

    Attributes:
        blocks: One hash per leading block of its text, each covering all before it; two requests
            share as many leading blocks as hashes.
        session: Hash of the conversation that the client names; ``None`` where it names none.
    """

    blocks: tuple[int, ...] = ()
    session: int | None = None


NO_AFFINITY = Affinity()


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A request that may end in a tool call.

    Attributes:
        pause_seconds: How long the call is expected to take, until the conversation comes back.
        return_tokens: Tokens that the tool is expected to add.
        continues: The request brings a tool's result: its conversation's KV may still be cached.
    """

    pause_seconds: float
    return_tokens: float
    continues: bool
