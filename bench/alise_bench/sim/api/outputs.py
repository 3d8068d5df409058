"""What one choice will say: its tokens' text, its length and why it ends.

Pure. A natural ending's last token is the end-of-sequence token, which has no text. A stop
string ends the output at the token that completes it and is cut off. A tool call is a text of
the form ``{"argument": "words"}``.
"""

import json
from dataclasses import dataclass
from typing import Any

from alise_bench.sim.sequence import FinishReason
from alise_bench.sim.text import mix, word


@dataclass(frozen=True, slots=True)
class Output:
    """One choice, decided before it is generated.

    Attributes:
        seed: Of its words.
        tokens: Its length in tokens, end-of-sequence included.
        finish: Why it ends.
        pieces: Text of each token where it is not simply the seed's word.
        stop_reason: The stop string that ended it.
        tool: Name of the function it calls, when it is a tool call.
    """

    seed: int
    tokens: int
    finish: FinishReason
    pieces: tuple[str, ...] | None = None
    stop_reason: str | None = None
    tool: str | None = None
    named: bool = False
    """The request named the function; vLLM then ends with ``stop``."""

    def text(self, start: int, count: int) -> str:
        """Text of ``count`` tokens from ``start``."""
        if count == 1:
            return self._piece(start)
        return "".join([self._piece(index) for index in range(start, start + count)])

    @property
    def whole(self) -> str:
        """The complete text."""
        return self.text(0, self.tokens)

    def _piece(self, index: int) -> str:
        if self.pieces is not None:
            return self.pieces[index]
        if index == self.tokens - 1 and self.finish is FinishReason.STOP:
            return ""
        return word(self.seed, index)


def plain(seed: int, natural: int, limit: int, minimum: int = 0) -> Output:
    """Ordinary text of ``natural`` tokens within [``minimum``, ``limit``]."""
    wanted = max(natural, minimum, 1)
    if wanted >= limit:
        return Output(seed, limit, FinishReason.LENGTH)
    return Output(seed, wanted, FinishReason.STOP)


def with_stop(output: Output, stops: list[str], minimum: int = 0) -> Output:
    """The same output, ended early where a stop string appears in its text."""
    pieces: list[str] = []
    text = ""
    for index in range(output.tokens):
        pieces.append(output.text(index, 1))
        text += pieces[-1]
        found = [(at, stop) for stop in stops if (at := text.find(stop)) >= 0]
        if found and index + 1 >= minimum:
            at, stop = min(found)
            return Output(
                output.seed,
                index + 1,
                FinishReason.STOP,
                _cut(pieces, at),
                stop_reason=stop,
            )
    return output


def _cut(pieces: list[str], length: int) -> tuple[str, ...]:
    kept = []
    for piece in pieces:
        kept.append(piece[: max(0, length)])
        length -= len(piece)
    return tuple(kept)


def _object(value: object) -> dict[str, Any]:
    """``value`` if it is a JSON object, else an empty one: clients send anything."""
    return value if isinstance(value, dict) else {}


_SHORTEST_CALL = 2
"""Tokens of an output that has no room for words: its first token carries all arguments."""


def as_tool_call(output: Output, function: dict[str, Any], *, named: bool = False) -> Output:
    """The same number of tokens as a call of ``function`` with one string argument."""
    # OpenAI names the schema "parameters", Anthropic "input_schema".
    schema = _object(function.get("parameters")) or _object(function.get("input_schema"))
    properties = _object(schema.get("properties"))
    opening = json.dumps({next(iter(properties), "input"): ""})[:-2]
    pieces = [word(output.seed, index) for index in range(output.tokens)]
    # The first token names the function; arguments come with the tokens after it.
    pieces[0] = ""
    if output.tokens > 1:
        pieces[1] = opening + pieces[1].lstrip()
    if output.finish is FinishReason.STOP:
        # The end-of-sequence token carries no text; the token before it closes the object.
        pieces[-1] = ""
        if output.tokens <= _SHORTEST_CALL:
            pieces[0] = opening
        pieces[max(0, output.tokens - 2)] += '"}'
    return Output(
        output.seed,
        output.tokens,
        output.finish,
        tuple(pieces),
        tool=str(function.get("name")),
        named=named,
    )


def chooses_tool(
    tools: list[dict[str, Any]], choice: object, seed: int, share: float
) -> dict[str, Any] | None:
    """The function an output calls, or ``None``.

    ``required`` and a named function always call; ``auto`` calls for a deterministic ``share``
    of the seeds.

    Raises:
        LookupError: The named function is not among ``tools``.
    """
    functions = [_object(tool.get("function")) or tool for tool in tools]
    if not functions or choice == "none":
        return None
    if isinstance(choice, dict):
        name = (_object(choice.get("function")) or choice).get("name")
        for function in functions:
            if function.get("name") == name:
                return function
        raise LookupError(name)
    picked: dict[str, Any] = functions[mix(seed, -3) % len(functions)]
    if choice == "required":
        return picked
    return picked if mix(seed, -2) % 10_000 < share * 10_000 else None
