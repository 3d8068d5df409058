"""Features of a request: hashed n-grams of its text and a few numbers.

One code path for training, evaluation and serving: whoever needs features calls ``extract``. It
is a dozen numpy operations on the text's bytes whatever the text is, so that its cost has a bound
and random bytes are as welcome as English.

Tokens are runs of letters, digits and non-ASCII bytes, single punctuation characters, and single
ideographs or syllables of scripts that are written without spaces. A token's hash is a polynomial
over its lower-cased bytes modulo 2**64; because prefix sums of ``byte * base**position`` are taken
once, every token's hash is a difference of two of them times an inverse power of the base.
"""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from math import log1p

import numpy as np
import numpy.typing as npt

from alise_predictor.request import MAX_TEXT_BYTES, PredictionRequest, cut

BUCKETS = 1 << 20
"""Size of the hash table; an id is a bucket."""

EDGE_TOKENS = 8
"""The first and the last tokens are also hashed as such: how a request begins and ends says more
than that a word occurs somewhere."""

EDGE_BIGRAMS = 6
"""So are the first and the last bigrams, and the first tokens together with their places."""

_FLAGS = ("code_fence", "json_mode", "after_tool", "has_tools", "has_system", "non_ascii")
_NUMBERS = (
    "log_prompt_bytes",
    "log_tokens",
    "log_lines",
    "question_marks",
    "digit_share",
    "punctuation_share",
    "upper_share",
    "log_turns",
    "log_system_bytes",
    "log_history_bytes",
)
SCALARS: tuple[str, ...] = (*_NUMBERS, *_FLAGS)
"""Names of the scalar features, in order; each is of the order of 1."""

Ids = npt.NDArray[np.int64]
Scalars = npt.NDArray[np.float32]

_BASE = 0x9E37_79B9_7F4A_7C15 | 1
_MASK = (1 << 64) - 1
_MIX = np.uint64(0xD6E8_FEB8_6659_FD93)
_SECOND = np.uint64(0xA24B_AED4_963E_E407)
_FIRST_SALT = np.uint64(0x1B87_3593_CC9E_2D51)
_LAST_SALT = np.uint64(0xE654_6B64_85EB_CA6B)
_SKIP = np.uint64(0x9FB2_1C65_1E98_DF25)
_PLACE = np.uint64(0xC2B2_AE3D_27D4_EB4F)
_PLACES = np.arange(1, EDGE_BIGRAMS + 1, dtype=np.uint64) * _PLACE
_SHIFT = np.uint64(64 - 20)
_HALF = np.uint64(32)

_SPACE, _WORD, _MARK = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Features:
    """What a model of tier 0 is given.

    Attributes:
        ids: Buckets of all n-grams, shape ``(n,)``, ``n >= 1``; repeated as often as they occur.
        scalars: Shape ``(len(SCALARS),)``.
    """

    ids: Ids
    scalars: Scalars


def schema_hash() -> str:
    """Hash of everything that decides which features a text has.

    Computed from the features of fixed texts, so that any change of behaviour changes it, not
    only a change of constants.
    """
    constants = (BUCKETS, EDGE_TOKENS, EDGE_BIGRAMS, SCALARS, MAX_TEXT_BYTES)
    digest = sha256(repr(constants).encode())
    for probe in _PROBES:
        features = extract(probe)
        digest.update(features.ids.astype("<i8").tobytes())
        digest.update(np.round(features.scalars, 4).astype("<f4").tobytes())
    return digest.hexdigest()


def extract(request: PredictionRequest) -> Features:
    """Features of one request; never raises, whatever the bytes."""
    # A request that was not built by this package's readers may be uncut.
    text = cut(request.prompt)
    if not text:
        return Features(_NO_TEXT, _scalars(request, _Counts()))
    tables = _tables()
    raw = np.frombuffer(text, np.uint8)
    kinds = tables.kinds[raw]
    starts, ends = _token_bounds(raw, kinds, tables)
    counts = _Counts(
        tokens=len(starts),
        lines=text.count(b"\n"),
        questions=text.count(b"?"),
        digits=int(np.count_nonzero(tables.is_digit[raw])),
        marks=int(np.count_nonzero(kinds == _MARK)),
        uppers=int(np.count_nonzero(tables.is_upper[raw])),
        fenced=b"```" in text,
        non_ascii=not text.isascii(),
    )
    scalars = _scalars(request, counts)
    if not len(starts):
        return Features(_NO_TEXT, scalars)
    lowered = tables.lower[raw]
    return Features(_ngrams(_token_hashes(lowered, starts, ends, tables)), scalars)


@dataclass(frozen=True, slots=True)
class _Counts:
    tokens: int = 0
    lines: int = 0
    questions: int = 0
    digits: int = 0
    marks: int = 0
    uppers: int = 0
    fenced: bool = False
    non_ascii: bool = False


@dataclass(frozen=True, slots=True)
class _Tables:
    kinds: npt.NDArray[np.uint8]
    lower: npt.NDArray[np.uint64]
    starts_token: npt.NDArray[np.bool_]
    is_digit: npt.NDArray[np.bool_]
    is_upper: npt.NDArray[np.bool_]
    powers: npt.NDArray[np.uint64]
    inverse_powers: npt.NDArray[np.uint64]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    kinds = np.full(256, _SPACE, np.uint8)
    kinds[0x21:0x7F] = _MARK
    for low, high in (("0", "9"), ("A", "Z"), ("a", "z")):
        kinds[ord(low) : ord(high) + 1] = _WORD
    kinds[ord("_")] = _WORD
    kinds[ord("'")] = _WORD
    kinds[0x80:] = _WORD
    lower = np.arange(256, dtype=np.uint64)
    lower[ord("A") : ord("Z") + 1] += np.uint64(32)
    starts = np.zeros(256, np.bool_)
    # Lead bytes of three-byte sequences from U+3000 on: CJK, kana, Hangul, Thai's neighbours.
    starts[0xE3:0xEE] = True
    codes = np.arange(256)
    length = MAX_TEXT_BYTES + 1
    return _Tables(
        kinds=kinds,
        lower=lower + np.uint64(1),
        starts_token=starts,
        is_digit=(codes >= ord("0")) & (codes <= ord("9")),
        is_upper=(codes >= ord("A")) & (codes <= ord("Z")),
        powers=_powers(_BASE, length),
        inverse_powers=_powers(pow(_BASE, -1, 1 << 64), length),
    )


def _powers(base: int, length: int) -> npt.NDArray[np.uint64]:
    powers, value = np.empty(length, np.uint64), 1
    for index in range(length):
        powers[index] = value
        value = value * base & _MASK
    return powers


def _token_bounds(
    raw: npt.NDArray[np.uint8], kinds: npt.NDArray[np.uint8], tables: _Tables
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First and one-past-last byte of every token."""
    changes = np.empty(len(raw), np.bool_)
    changes[0] = True
    np.not_equal(kinds[1:], kinds[:-1], out=changes[1:])
    changes |= kinds == _MARK
    changes |= tables.starts_token[raw]
    bounds = np.flatnonzero(changes)
    ends = np.empty(len(bounds), np.intp)
    ends[:-1] = bounds[1:]
    ends[-1] = len(raw)
    is_token = kinds[bounds] != _SPACE
    return bounds[is_token], ends[is_token]


def _token_hashes(
    lowered: npt.NDArray[np.uint64],
    starts: npt.NDArray[np.intp],
    ends: npt.NDArray[np.intp],
    tables: _Tables,
) -> npt.NDArray[np.uint64]:
    sums = np.empty(len(lowered) + 1, np.uint64)
    sums[0] = 0
    np.cumsum(lowered * tables.powers[: len(lowered)], out=sums[1:])
    hashes = (sums[ends] - sums[starts]) * tables.inverse_powers[starts]
    return _mix(hashes)


def _ngrams(hashes: npt.NDArray[np.uint64]) -> Ids:
    follow = hashes[:-1] * _SECOND
    bigrams = _mix(follow + hashes[1:])
    first = hashes[:EDGE_BIGRAMS]
    grams = np.concatenate(
        (
            hashes,
            bigrams,
            _mix(follow[:-1] * _SKIP + hashes[2:]),
            _mix(
                np.concatenate(
                    (
                        hashes[:EDGE_TOKENS] ^ _FIRST_SALT,
                        hashes[-EDGE_TOKENS:] ^ _LAST_SALT,
                        first + _PLACES[: len(first)],
                        bigrams[:EDGE_BIGRAMS] ^ _FIRST_SALT,
                        bigrams[-EDGE_BIGRAMS:] ^ _LAST_SALT,
                    )
                )
            ),
        )
    )
    return (grams >> _SHIFT).astype(np.int64)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread every bit over the top ones (a multiply-xorshift round, twice)."""
    values = (values ^ (values >> _HALF)) * _MIX
    return (values ^ (values >> _HALF)) * _MIX


def _scalars(request: PredictionRequest, counts: _Counts) -> Scalars:
    size = max(1, len(request.prompt))
    history = request.prompt_bytes - len(request.prompt) - len(request.system)
    return np.array(
        (
            log1p(len(request.prompt)) / 8,
            log1p(counts.tokens) / 6,
            log1p(counts.lines) / 4,
            min(counts.questions, 3) / 3,
            counts.digits / size * 4,
            counts.marks / size * 4,
            counts.uppers / size * 4,
            log1p(max(0, request.turns - 1)) / 3,
            log1p(len(request.system)) / 8,
            log1p(max(0, history)) / 10,
            counts.fenced,
            request.json_mode,
            request.after_tool,
            request.tools > 0,
            bool(request.system),
            counts.non_ascii,
        ),
        np.float32,
    )


_NO_TEXT: Ids = np.zeros(1, np.int64)

_PROBES = (
    PredictionRequest(model="", prompt=b""),
    PredictionRequest(model="", prompt=b"Write a 500-word essay about the sea.\n```c\nint x;```?"),
    PredictionRequest(
        model="",
        prompt="Wie heißt die Hauptstadt? 東京はどこですか。".encode(),
        system=b"Be brief.",
        prompt_bytes=900,
        turns=5,
        tools=2,
        json_mode=True,
        after_tool=True,
    ),
)
