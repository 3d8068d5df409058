"""The words of a container's command line, each of which can be changed in place. Pure.

A word is what the program sees; where it stands, and how it is quoted there, stays with it, so
that a change touches the characters it is about and no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from alise_core.errors import AliseError


class Refused(AliseError):
    """What there is cannot be changed without guessing; the text says what and what to do."""


class Quoting(StrEnum):
    """How a character stands in a shell script; in a list of words all are ``NONE``."""

    NONE = "none"
    PLAIN = "plain"
    ESCAPED = "escaped"
    SINGLE = "single"
    DOUBLE = "double"


@dataclass(frozen=True, slots=True)
class Char:
    """A character of a word, and the characters of the text that stand for it."""

    text: str
    start: int
    end: int
    quoting: Quoting


@dataclass(frozen=True, slots=True)
class Word:
    """One word.

    Attributes:
        chars: What the program sees, with where that stands.
        start: Of the word, its quotes included.
        end: Just after it.
        expands: Something in it is replaced before the program sees it.
        opens: It begins with something that is replaced, so that it may be an option.
    """

    chars: tuple[Char, ...]
    start: int
    end: int
    expands: bool = False
    opens: bool = False

    @property
    def text(self) -> str:
        """What the program sees; of an expansion its characters as written."""
        return "".join(char.text for char in self.chars)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """``command`` and ``args`` of a container; ``None`` where the field is absent."""

    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None

    @property
    def whole(self) -> tuple[str, ...]:
        """All words in their order."""
        return (*(self.command or ()), *(self.args or ()))

    def with_word(self, index: int, *words: str) -> "CommandLine":
        """Other words in the place of the one at ``index`` of ``whole``."""
        command, args = self.command or (), self.args or ()
        if index < len(command):
            changed = (*command[:index], *words, *command[index + 1 :])
            return CommandLine(changed, self.args)
        index -= len(command)
        return CommandLine(self.command, (*args[:index], *words, *args[index + 1 :]))

    def with_more(self, word: str) -> "CommandLine":
        """One word more, last."""
        if self.args is None and self.command is not None:
            return CommandLine((*self.command, word), None)
        return CommandLine(self.command, (*(self.args or ()), word))


class Words(Protocol):
    """The words of one command, wherever they stand."""

    @property
    def words(self) -> Sequence[Word]:
        """In their order."""

    def splice(self, index: int, start: int, end: int, text: str) -> CommandLine:
        """Put ``text`` in the place of the characters ``start`` to ``end`` of a word.

        Raises:
            Refused: They cannot be changed alone.
        """

    def append(self, word: str) -> CommandLine:
        """One word more, last."""

    def cut(self, index: int, count: int) -> CommandLine:
        """Without ``count`` words from ``index`` on."""


class ListedWords:
    """Words that Kubernetes passes on as they are, but for ``$(NAME)``.

    Args:
        line: The container's.
        first: Where those of vLLM begin.
    """

    def __init__(self, line: CommandLine, first: int) -> None:
        self._line, self._first = line, first
        self._words = tuple(_listed(text) for text in line.whole[first:])

    @property
    def words(self) -> Sequence[Word]:
        """In their order."""
        return self._words

    def splice(self, index: int, start: int, end: int, text: str) -> CommandLine:
        """See ``Words``."""
        old = self._words[index].text
        return self._line.with_word(self._first + index, old[:start] + text + old[end:])

    def append(self, word: str) -> CommandLine:
        """See ``Words``."""
        return self._line.with_more(word)

    def cut(self, index: int, count: int) -> CommandLine:
        """See ``Words``."""
        line = self._line
        for _ in range(count):
            line = line.with_word(self._first + index)
        return line


def _listed(text: str) -> Word:
    chars = tuple(Char(char, at, at + 1, Quoting.NONE) for at, char in enumerate(text))
    return Word(chars, 0, len(text), "$(" in text, text.startswith("$("))
