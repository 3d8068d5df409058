"""The one vLLM command in a shell one-liner, word by word. Pure.

Reads as much of the shell's language as start lines are written in: words, quotes, continued
lines, comments, lists of commands, redirections. Whatever else it meets it refuses: half
understood is not understood.

Source: POSIX.1-2017, Shell Command Language, 2.2 Quoting and 2.3 Token Recognition.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from alise_operator.canary.words import Char, CommandLine, Quoting, Refused, Word

_BLANK = " \t"
_ENDS = "\n;&|()"
_MOST_CHARS = 65_536
_BARE = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
"""What stands for itself without quotes."""
_IN_DOUBLE = re.compile(r'([$`"\\])')


class _Mark(StrEnum):
    """What stands between words."""

    END = "end"
    REDIRECT = "redirect"


_Token = Word | _Mark


class ScriptWords:
    """The words of a vLLM command in a script.

    Args:
        line: The container's.
        place: Of the script in it.
        words: What ``vllm_command`` found.
    """

    def __init__(self, line: CommandLine, place: int, words: Sequence[Word]) -> None:
        self._line, self._place, self._words = line, place, words

    @property
    def words(self) -> Sequence[Word]:
        """In their order."""
        return self._words

    def splice(self, index: int, start: int, end: int, text: str) -> CommandLine:
        """See ``Words``."""
        word = self._words[index]
        old = word.chars[start:end] or word.chars[start - 1 : start]
        quotings = {char.quoting for char in old}
        if len(quotings) != 1 or word.expands:
            raise Refused(f"{word.text[:80]!r} is quoted in parts: write the value in one piece")
        # A quote that ends and begins again inside would be lost.
        if any(one.end != other.start for one, other in pairwise(old)):
            raise Refused(f"{word.text[:80]!r} is quoted in parts: write the value in one piece")
        put = _quoted(text, quotings.pop())
        if start == end:
            return self._with(old[0].end, old[0].end, put)
        return self._with(old[0].start, old[-1].end, put)

    def append(self, word: str) -> CommandLine:
        """See ``Words``."""
        end = self._words[-1].end
        return self._with(end, end, " " + _quoted(word, Quoting.PLAIN))

    def cut(self, index: int, count: int) -> CommandLine:
        """See ``Words``."""
        before = self._words[index - 1].end
        return self._with(before, self._words[index + count - 1].end, "")

    def _with(self, start: int, end: int, text: str) -> CommandLine:
        script = self._line.whole[self._place]
        return self._line.with_word(self._place, script[:start] + text + script[end:])


def commands_of(script: str) -> list[list[Word]]:
    """The commands of a script, each with the words before its first redirection.

    Raises:
        Refused: It has something that is not understood.
    """
    commands: list[list[Word]] = [[]]
    behind = 0
    """Words after a redirection; the first one is its target."""
    redirected = False
    for token in _Lexer(script).tokens():
        if token is _Mark.END:
            commands.append([])
            redirected, behind = False, 0
        elif token is _Mark.REDIRECT:
            redirected, behind = True, 0
        elif isinstance(token, Word) and redirected:
            behind += 1
            if behind > 1:
                raise Refused("words follow a redirection: put the redirection last")
        elif isinstance(token, Word):
            commands[-1].append(token)
    return [command for command in commands if command]


def _quoted(text: str, quoting: Quoting) -> str:
    if quoting is Quoting.SINGLE and "'" not in text:
        return text
    if quoting is Quoting.DOUBLE:
        return _IN_DOUBLE.sub(r"\\\1", text)
    if quoting is Quoting.PLAIN and _BARE.fullmatch(text):
        return text
    raise Refused(f"{text[:80]!r} cannot stand there unquoted: put the value in quotes")


@dataclass(slots=True)
class _Open:
    """A word being read."""

    start: int
    chars: list[Char] = field(default_factory=list)
    expands: bool = False
    opens: bool = False

    def take(self, text: str, start: int, end: int, quoting: Quoting) -> None:
        self.chars.append(Char(text, start, end, quoting))

    def expand(self, text: str, start: int, end: int) -> None:
        self.opens = self.opens or not self.chars
        self.expands = True
        self.take(text, start, end, Quoting.ESCAPED)


class _Lexer:
    def __init__(self, script: str) -> None:
        if len(script) > _MOST_CHARS:
            raise Refused(f"the script has more than {_MOST_CHARS} characters")
        self._script, self._at = script, 0
        self._tokens: list[_Token] = []
        self._word: _Open | None = None

    def tokens(self) -> list[_Token]:
        while self._at < len(self._script):
            self._step(self._script[self._at])
        self._close()
        return self._tokens

    def _step(self, char: str) -> None:
        if char in _BLANK:
            self._close()
            self._at += 1
        elif char in _ENDS:
            self._close()
            self._tokens.append(_Mark.END)
            self._at += 1
        elif char in "<>":
            self._redirect()
        elif char == "#" and self._word is None:
            stop = self._script.find("\n", self._at)
            self._at = len(self._script) if stop < 0 else stop
        elif char == "\\":
            self._escaped()
        else:
            self._in_word(char)

    def _in_word(self, char: str) -> None:
        word = self._word = self._word or _Open(self._at)
        if char == "'":
            self._single(word)
        elif char == '"':
            self._double(word)
        elif char in "$`":
            self._expansion(word)
        else:
            if char in "*?[~{":
                word.expands = True
            word.take(char, self._at, self._at + 1, Quoting.PLAIN)
            self._at += 1

    def _close(self) -> None:
        if self._word is not None:
            word, self._word = self._word, None
            made = Word(tuple(word.chars), word.start, self._at, word.expands, word.opens)
            self._tokens.append(made)

    def _redirect(self) -> None:
        script, at = self._script, self._at
        if script[at : at + 2] in {"<<", "<(", ">("}:
            raise Refused(f"the script has {script[at : at + 2]!r}, which is not understood")
        # In ``2>`` the number is no word.
        if self._word is not None and all(char.text.isdigit() for char in self._word.chars):
            self._word = None
        self._close()
        self._tokens.append(_Mark.REDIRECT)
        self._at = at + (2 if script[at + 1 : at + 2] in {"&", ">", "|"} else 1)

    def _escaped(self) -> None:
        script, at = self._script, self._at
        behind = script[at + 1 : at + 2]
        if behind == "\n":
            if self._word is not None and script[at + 2 : at + 3] not in {" ", "\t", ""}:
                raise Refused("a line is continued inside of a word")
            self._close()
        elif behind:
            self._word = self._word or _Open(at)
            self._word.take(behind, at, at + 2, Quoting.ESCAPED)
        else:
            raise Refused("the script ends in a backslash")
        self._at += 2

    def _single(self, word: _Open) -> None:
        stop = self._script.find("'", self._at + 1)
        if stop < 0:
            raise Refused("the script has a quote that is not closed")
        for at in range(self._at + 1, stop):
            word.take(self._script[at], at, at + 1, Quoting.SINGLE)
        self._at = stop + 1

    def _double(self, word: _Open) -> None:
        self._at += 1
        while self._at < len(self._script):
            char, at = self._script[self._at], self._at
            if char == '"':
                self._at += 1
                return
            if char in "$`":
                self._expansion(word)
                continue
            behind = self._script[at + 1 : at + 2]
            size = 2 if char == "\\" and behind and behind in '$`"\\' else 1
            if char == "\\" and behind == "\n":
                raise Refused("a line is continued inside of quotes")
            word.take(self._script[at + size - 1], at, at + size, Quoting.DOUBLE)
            self._at += size
        raise Refused("the script has a quote that is not closed")

    def _expansion(self, word: _Open) -> None:
        start = self._at
        found = _EXPANSION.match(self._script, start)
        if found is None:
            raise Refused(
                f"{self._script[start : start + 20]!r} in the script is not understood: "
                "use $NAME or ${NAME}"
            )
        word.expand(found[0], start, found.end())
        self._at = found.end()


_EXPANSION = re.compile(r"\$(?:\w+|[@*#?$!-]|\{[^{}'\"`\\$]*\}|\([^()'\"`\\$]*\))", re.ASCII)
