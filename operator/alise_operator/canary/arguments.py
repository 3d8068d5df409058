"""Finds, sets and takes away one of vLLM's arguments, however it is written. Pure.

Understood: words of their own (``--kv-cache-dtype fp8``), one word (``--kv-cache-dtype=fp8``),
with ``_`` for ``-`` as vLLM takes it, in ``command`` or ``args``, in a shell one-liner (``sh -c
"exec vllm serve ..."``), and one member of an argument that is JSON. Every other character stays
as it was written, so that a change there and back gives the same bytes.

What cannot be known for certain is refused, with the reason: values that are put in from
variables, arguments that are given twice or abbreviated, start scripts, nested shells.

Source: vLLM 0.32 ``utils/argparse_utils.py`` (names with ``_``, the last one of two counts,
dotted names for members of JSON).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from alise_operator.canary.json_text import member_splice, member_text
from alise_operator.canary.script import ScriptWords, commands_of
from alise_operator.canary.words import CommandLine, ListedWords, Refused, Word, Words

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})
_SCRIPT_FLAG = re.compile(r"-[a-z]*c")
_SERVER_MODULE = "vllm.entrypoints.openai.api_server"
_LEAST_ABBREVIATION = 4


@dataclass(frozen=True, slots=True)
class Argument:
    """Which argument.

    Attributes:
        name: With its dashes, as in ``--kv-cache-dtype``.
        path: Of a member inside of it, where its value is JSON.
    """

    name: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name + "".join(f".{part}" for part in self.path)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where its value stands: the word, and where in the word it begins."""

    index: int
    count: int
    value_index: int
    value_start: int


def read_argument(line: CommandLine, argument: Argument) -> str | None:
    """Its value as written (of a member: its JSON); ``None`` where it is not given.

    Raises:
        Refused: That cannot be said for certain.
    """
    words = _words(line)
    found = _find(words.words, argument)
    if found is None:
        _refuse_hidden(words.words, argument)
        return None
    value = _value(words.words, found, argument)
    return member_text(value, argument.path) if argument.path else value


def write_argument(line: CommandLine, argument: Argument, value: str | None) -> CommandLine:
    """The same command line with another value; with ``None`` without the argument.

    Args:
        line: The container's.
        argument: Which.
        value: As ``read_argument`` gives it.

    Raises:
        Refused: It cannot be changed without touching something else, or without guessing.
    """
    words = _words(line)
    found = _find(words.words, argument)
    if found is None:
        return _added(line, words, argument, value)
    old = _value(words.words, found, argument)
    start = found.value_start
    if argument.path:
        splice = member_splice(old, argument.path, value)
        return words.splice(
            found.value_index, start + splice.start, start + splice.end, splice.text
        )
    if value is None:
        return words.cut(found.index, found.count)
    _refuse_odd(argument, value)
    return words.splice(found.value_index, start, start + len(old), value)


def _added(line: CommandLine, words: Words, argument: Argument, value: str | None) -> CommandLine:
    _refuse_hidden(words.words, argument)
    if value is None:
        return line
    if argument.path:
        raise Refused(f"{argument.name} is not given: give it, with all that belongs to it")
    _refuse_odd(argument, value)
    if not words.words:
        raise Refused("the container has neither command nor args: write vLLM's arguments there")
    if isinstance(words, ListedWords) and not _is_server(line):
        raise Refused(
            f"{(line.command or ('',))[0]!r} is not known to pass arguments on to vLLM: "
            f"give it {argument.name} yourself, or start vLLM with 'vllm serve'"
        )
    return words.append(f"{argument.name}={value}")


def _words(line: CommandLine) -> Words:
    whole = line.whole
    for place, word in enumerate(whole):
        if word.rpartition("/")[2] in _SHELLS:
            return _script_words(line, place)
        if word.startswith("-") and word != "--":
            break
    return ListedWords(line, _first(whole))


def _script_words(line: CommandLine, shell: int) -> Words:
    whole = line.whole
    for place in range(shell + 1, len(whole) - 1):
        if _SCRIPT_FLAG.fullmatch(whole[place]):
            return _in_script(line, place + 1)
        if not whole[place].startswith("-"):
            break
    raise Refused("the container runs a start script, which is not read: use 'vllm serve' itself")


def _in_script(line: CommandLine, place: int) -> Words:
    found: list[Sequence[Word]] = []
    for command in commands_of(line.whole[place]):
        texts = [word.text for word in command]
        first = _first(texts)
        if first:
            found.append(command[first - 1 :])
    if len(found) != 1:
        raise Refused(
            f"the script has {len(found)} commands 'vllm serve', which must be exactly one"
        )
    return ScriptWords(line, place, found[0])


def _first(words: Sequence[str]) -> int:
    """Where vLLM's own words begin; 0 where that is not seen."""
    for at in range(len(words) - 1):
        one, two = words[at : at + 2]
        if one.rpartition("/")[2] == "vllm" and two == "serve":
            return at + 2
        if one == "-m" and two == _SERVER_MODULE:
            return at + 2
    return 0


def _is_server(line: CommandLine) -> bool:
    """VLLM is started there, or, without a command, by the image."""
    return bool(_first(line.whole)) or not line.command


def _find(words: Sequence[Word], argument: Argument) -> _Found | None:
    found: list[_Found] = []
    for at, word in enumerate(words):
        head, equals, _ = word.text.partition("=")
        if not head.startswith("--"):
            continue
        if head == "--" and len(word.text) == len("--"):
            raise Refused("a word '--' ends the options: take it out")
        name = head.replace("_", "-")
        if name == argument.name:
            found.append(_Found(at, 1, at, len(head) + 1) if equals else _Found(at, 2, at + 1, 0))
        else:
            _refuse_similar(argument, name, word.text)
    if len(found) > 1:
        raise Refused(f"{argument.name} is given {len(found)} times: leave one of them")
    return found[0] if found else None


def _refuse_similar(argument: Argument, name: str, text: str) -> None:
    if name.startswith(f"{argument.name}."):
        raise Refused(f"{text[:80]!r} sets a part of {argument.name}: write it as one JSON object")
    if " " in text and name.startswith(f"{argument.name} "):
        raise Refused(f"{text[:80]!r} is one word: write {argument.name} and its value as two")
    if len(name) >= _LEAST_ABBREVIATION and argument.name.startswith(name):
        raise Refused(f"{text[:80]!r} may abbreviate {argument.name}: write it in full")


def _value(words: Sequence[Word], found: _Found, argument: Argument) -> str:
    if found.value_index >= len(words):
        raise Refused(f"{argument.name} is the last word and has no value: give it one")
    for index in {found.index, found.value_index}:
        if words[index].expands:
            raise Refused(
                f"{words[index].text[:80]!r} is made of a variable: write the value of "
                f"{argument.name} out"
            )
    value = words[found.value_index].text[found.value_start :]
    if not value or (found.count > 1 and value.startswith("--")):
        raise Refused(f"{argument.name} has no value: give it one")
    return value


def _refuse_hidden(words: Sequence[Word], argument: Argument) -> None:
    """A word that becomes something else where an option may stand may be this very one."""
    after_option = True  # the first word is the model
    for word in words:
        if word.opens and not after_option:
            raise Refused(
                f"{word.text[:80]!r} may hold {argument.name}: write the arguments in it out"
            )
        after_option = word.text.startswith("-") and "=" not in word.text
        after_option = after_option or word.text == "serve"


def _refuse_odd(argument: Argument, value: str) -> None:
    if not value or value.startswith("-") or "$(" in value:
        raise Refused(f"{value[:80]!r} cannot be the value of {argument.name}")
