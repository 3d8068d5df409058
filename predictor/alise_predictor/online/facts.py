"""What a request says about its answer besides its text."""

from dataclasses import dataclass
from math import log1p
from zlib import crc32

from alise_predictor.request import PredictionRequest


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """Facts that a deployment's own traffic teaches the meaning of.

    Attributes:
        max_tokens: What the client allows, if it says.
        turns: User and assistant messages.
        tools: Number of tools offered.
        json_mode: The answer must be JSON.
        after_tool: The last message is a tool's result.
        system_hash: Identifies the system prompt; 0 without one. An application sends the same
            one with every request, so that it stands for the application.
    """

    max_tokens: int | None = None
    turns: int = 1
    tools: int = 0
    json_mode: bool = False
    after_tool: bool = False
    system_hash: int = 0

    @classmethod
    def of(cls, request: PredictionRequest) -> "RequestFacts":
        """The facts of a request; the system prompt only as its hash."""
        return cls(
            max_tokens=request.max_tokens,
            turns=request.turns,
            tools=request.tools,
            json_mode=request.json_mode,
            after_tool=request.after_tool,
            system_hash=crc32(request.system) if request.system else 0,
        )

    def numbers(self) -> tuple[float, ...]:
        """As ``NUMBERS`` values of the order of 1."""
        limit = self.max_tokens
        return (
            0.0 if limit is None else log1p(min(max(0, limit), _MOST_TOKENS)) / 8,
            float(limit is not None),
            log1p(min(max(0, self.turns - 1), _MOST_TOKENS)) / 3,
            log1p(min(max(0, self.tools), _MOST_TOOLS)) / 3,
            float(self.json_mode),
            float(self.after_tool),
        )

    def hashes(self) -> tuple[int, ...]:
        """Hashes of the facts whose exact value may identify an application."""
        found = []
        if self.system_hash:
            found.append(crc32(b"s%d" % self.system_hash))
        if self.max_tokens is not None:
            found.append(crc32(b"m%d" % self.max_tokens))
        if self.tools:
            found.append(crc32(b"t%d" % self.tools))
        return tuple(found)


NUMBERS = 6
"""How many values ``RequestFacts.numbers`` has."""

_MOST_TOKENS = 10**9
"""Clients may write any integer; beyond this it says nothing more."""

_MOST_TOOLS = 400
