"""Features are the same in training and serving: held to a plain reading of their definition."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alise_predictor.features import (
    BUCKETS,
    EDGE_BIGRAMS,
    EDGE_TOKENS,
    SCALARS,
    Features,
    extract,
    schema_hash,
)
from alise_predictor.request import MAX_TEXT_BYTES, PredictionRequest, cut, from_prompt

MASK = (1 << 64) - 1
BASE = 0x9E37_79B9_7F4A_7C15
MIX = 0xD6E8_FEB8_6659_FD93
SECOND = 0xA24B_AED4_963E_E407
FIRST_SALT = 0x1B87_3593_CC9E_2D51
LAST_SALT = 0xE654_6B64_85EB_CA6B
SKIP = 0x9FB2_1C65_1E98_DF25
PLACE = 0xC2B2_AE3D_27D4_EB4F
TOP_BITS = 64 - 20
SKIP = 0x9FB2_1C65_1E98_DF25
PLACE = 0xC2B2_AE3D_27D4_EB4F
LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_'"

TEXTS = st.text(max_size=400) | st.text(alphabet="ab ,.\n東あ한é'_0A", max_size=400)
BYTES = TEXTS.map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=400)


def plain_tokens(text: bytes) -> list[bytes]:
    """Runs of word bytes, cut before an ideograph; single marks; nothing else."""
    tokens: list[bytes] = []
    in_word = False
    for code in text:
        is_word = code in LETTERS or code >= 0x80
        is_mark = 0x20 < code < 0x7F and not is_word
        if is_mark or (is_word and (not in_word or 0xE3 <= code <= 0xED)):
            tokens.append(bytes([code]))
        elif is_word:
            tokens[-1] += bytes([code])
        in_word = is_word
    return tokens


def plain_mix(value: int) -> int:
    for _ in range(2):
        value = (value ^ (value >> 32)) * MIX & MASK
    return value


def plain_hash(token: bytes) -> int:
    lowered = (code + 32 if 0x41 <= code <= 0x5A else code for code in token)
    return plain_mix(
        sum((code + 1) * pow(BASE, place, 1 << 64) for place, code in enumerate(lowered)) & MASK
    )


def plain_ids(text: bytes) -> list[int]:
    """Words, neighbours, next neighbours, and again what stands at either end."""
    words = [plain_hash(token) for token in plain_tokens(text)]
    pairs = [
        plain_mix((first * SECOND + second) & MASK) for first, second in itertools.pairwise(words)
    ]
    skips = [
        plain_mix((first * SECOND * SKIP + third) & MASK)
        for first, third in zip(words, words[2:], strict=False)
    ]
    edges = [
        *(word ^ FIRST_SALT for word in words[:EDGE_TOKENS]),
        *(word ^ LAST_SALT for word in words[-EDGE_TOKENS:]),
        *(word + place * PLACE & MASK for place, word in enumerate(words[:EDGE_BIGRAMS], 1)),
        *(pair ^ FIRST_SALT for pair in pairs[:EDGE_BIGRAMS]),
        *(pair ^ LAST_SALT for pair in pairs[-EDGE_BIGRAMS:]),
    ]
    grams = [*words, *pairs, *skips, *map(plain_mix, edges)]
    return [gram >> TOP_BITS for gram in grams] or [0]


def _features(text: bytes) -> Features:
    return extract(PredictionRequest(model="m", prompt=cut(text), prompt_bytes=len(text)))


@given(BYTES)
@example(b"")
@example(b" \n\t ")
@example(b"Write a 500-word essay!")
@example("Wie heißt die Hauptstadt von 日本? 東京。".encode())
@example(b"don't snake_case CamelCase x86_64")
@example("한국어 ไทย العربية 🙂🙂".encode())
@example(b"\xe3\x81")
def test_ids_are_those_of_the_plain_definition(text: bytes) -> None:
    assert _features(text).ids.tolist() == plain_ids(cut(text))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("don't stop_me", ["don't", "stop_me"]),
        ("a--b", ["a", "-", "-", "b"]),
        ("東京は", ["東", "京", "は"]),
        ("naïve café", ["naïve", "café"]),
        ("", []),
    ],
)
def test_the_plain_definition_means_what_it_says(text: str, tokens: list[str]) -> None:
    assert plain_tokens(text.encode()) == [token.encode() for token in tokens]


@given(BYTES)
def test_every_id_is_a_bucket(text: bytes) -> None:
    features = _features(text)

    assert features.ids.dtype == np.int64
    assert features.ids.ndim == 1
    assert len(features.ids) >= 1
    assert features.ids.min() >= 0
    assert features.ids.max() < BUCKETS


@given(BYTES, BYTES, st.integers(1, 10_000), st.integers(0, 10**9))
def test_scalars_are_of_the_order_of_one(
    text: bytes, system: bytes, turns: int, history: int
) -> None:
    request = PredictionRequest(
        model="m", prompt=text, system=system, prompt_bytes=history, turns=turns
    )
    scalars = extract(request).scalars

    assert scalars.dtype == np.float32
    assert scalars.shape == (len(SCALARS),)
    assert np.isfinite(scalars).all()
    assert scalars.min() >= 0
    assert scalars.max() <= 4


@given(BYTES)
def test_equal_requests_have_equal_features(text: bytes) -> None:
    first, second = _features(text), _features(bytes(bytearray(text)))

    assert first.ids.tobytes() == second.ids.tobytes()
    assert first.scalars.tobytes() == second.scalars.tobytes()


@given(BYTES)
def test_the_case_of_letters_changes_no_id(text: bytes) -> None:
    assert _features(text.lower()).ids.tolist() == _features(text).ids.tolist()


def test_the_longest_text_has_a_bounded_number_of_features() -> None:
    features = _features(b"!" * 10 * MAX_TEXT_BYTES)

    assert len(features.ids) <= 3 * MAX_TEXT_BYTES + 2 * EDGE_TOKENS + 3 * EDGE_BIGRAMS


@pytest.mark.parametrize(
    "request_with",
    [
        {"system": b"Be brief."},
        {"turns": 3},
        {"tools": 1},
        {"json_mode": True},
        {"after_tool": True},
        {"prompt_bytes": 5_000},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_is_known_beside_the_prompt_shows(request_with: dict[str, object]) -> None:
    fields: dict[str, object] = {"model": "m", "prompt": b"Write"}
    plain = extract(PredictionRequest(**fields))  # type: ignore[arg-type]
    other = extract(PredictionRequest(**{**fields, **request_with}))  # type: ignore[arg-type]

    assert plain.scalars.tolist() != other.scalars.tolist()


@pytest.mark.parametrize("field", [{"model": "other"}, {"max_tokens": 5}])
def test_the_model_and_the_limit_are_no_features(field: dict[str, object]) -> None:
    fields: dict[str, object] = {"model": "m", "prompt": b"Write"}
    plain = extract(PredictionRequest(**fields))  # type: ignore[arg-type]
    other = extract(PredictionRequest(**{**fields, **field}))  # type: ignore[arg-type]

    assert plain.scalars.tolist() == other.scalars.tolist()
    assert plain.ids.tolist() == other.ids.tolist()


def test_how_a_text_begins_and_ends_shows_apart_from_its_words() -> None:
    words = " ".join("abcdefghijklmnopqrstuvwxyz")
    there, back = from_prompt(words, "m"), from_prompt(words[::-1], "m")

    assert sorted(extract(there).ids[:26]) == sorted(extract(back).ids[:26])
    everything = 26 + 25 + 24
    assert sorted(extract(there).ids[everything:]) != sorted(extract(back).ids[everything:])


def test_the_schema_hash_is_stable_within_a_process() -> None:
    assert schema_hash() == schema_hash()
    assert len(schema_hash()) == 64


@pytest.mark.slow
def test_the_schema_hash_is_the_same_in_another_process() -> None:
    script = "from alise_predictor.features import schema_hash; print(schema_hash())"
    printed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout

    assert printed.strip() == schema_hash()


def test_the_schema_is_that_of_the_shipped_models() -> None:
    """Whoever changes a feature has to train again; this says so before a bundle is refused."""
    assert schema_hash() == "ae114f50206da3fcc76c5158452f4f5974f1127d8810d3cd0e362e85b85aa54c"
