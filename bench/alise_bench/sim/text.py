"""The simulator's tokenizer and vocabulary: text to token ids and back, deterministic.

Pure. A token is up to six word characters with an optional leading space, or one other
character; its id is a checksum of its bytes. Every output word is exactly one token, so a
conversation that quotes earlier output hits the prefix cache as it would in a real engine. The
six-character limit gives about four characters per token on English, as byte-pair encodings do.
"""

import re
import zlib
from collections.abc import Callable

_PIECE = re.compile(r" ?[^\W_]{1,6}| ?[^\s]|\s")

_WORDS = (
    "the of and to in is it as for on that with by this be are from or at an was have not which "
    "one all can more has had but some other each use how their time if will up about out many "
    "then them these so word first people could may down now long find day part water after back "
    "little only round man year came show every good me give our under name very just form great "
    "think say help low line differ turn cause much mean before move right boy old too same tell"
)
WORDS = tuple(_WORDS.split())

END_OF_TEXT = zlib.crc32(b"<|endoftext|>")
_MULTIPLIER = 6364136223846793005
_INCREMENT = 1442695040888963407
_MASK = (1 << 64) - 1


def encode(text: str) -> tuple[int, ...]:
    """Token ids of ``text``; never empty, for an empty prompt is one end-of-text token."""
    ids = tuple([zlib.crc32(piece.encode("utf-8", "replace")) for piece in _PIECE.findall(text)])
    return ids or (END_OF_TEXT,)


def seed_of(*parts: object) -> int:
    """A 32-bit seed that is a function of the parts' text alone."""
    return zlib.crc32("\x1f".join(map(str, parts)).encode("utf-8", "replace"))


def mix(seed: int, index: int) -> int:
    """A 31-bit pseudo-random number for one position of one seed."""
    state = ((seed << 20) + index) * _MULTIPLIER + _INCREMENT & _MASK
    state = (state ^ (state >> 33)) * _MULTIPLIER & _MASK
    return state >> 33


_PIECES = tuple(f" {word}" for word in WORDS)
_IDS = tuple(zlib.crc32(piece.encode()) for piece in _PIECES)
_COUNT = len(_PIECES)
TOKEN_TEXTS = dict(zip(_IDS, _PIECES, strict=True))
"""Every token that the model says, and its text."""


def word(seed: int, index: int) -> str:
    """Output text at a position: one word with its leading space."""
    return _PIECES[mix(seed, index) % _COUNT]


def sampler(seed: int) -> Callable[[int], int]:
    """Token id at each output position of a seed."""
    return lambda index: _IDS[mix(seed, index) % _COUNT]
