"""A long prompt's first and last pieces are those it has when all of it is tokenized."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from alise_predictor.serving.pieces import BYTES_PER_PIECE, PieceReader
from fakes.predictor_bundle import VOCABULARY, tokenizer

HEAD, TAIL = 6, 3
BEGIN, END = VOCABULARY["[CLS]"], VOCABULARY["[SEP]"]
KNOWN = [word for word in VOCABULARY if word.isalpha()]


@pytest.fixture(scope="module")
def reader() -> PieceReader:
    return PieceReader(tokenizer(), HEAD, TAIL)


def _words(*words: str) -> list[int]:
    return [VOCABULARY[word] for word in words]


def test_a_short_text_is_whole(reader: PieceReader) -> None:
    assert reader.ids(b"Write lists") == [BEGIN, *_words("write", "list", "##s"), END]


def test_an_empty_text_is_its_ends(reader: PieceReader) -> None:
    assert reader.ids(b"") == [BEGIN, END]


def test_a_files_own_truncation_is_not_used(reader: PieceReader) -> None:
    assert len(reader.ids(b"write an essay")) == 5


def test_what_fits_both_ends_is_not_cut(reader: PieceReader) -> None:
    assert reader.ids(b"a " * (HEAD + TAIL)) == [BEGIN, *_words("a") * (HEAD + TAIL), END]


def test_the_middle_is_left_out(reader: PieceReader) -> None:
    text = "write a list of the sea and dog cat essay please"

    assert reader.ids(text.encode()) == [
        BEGIN,
        *_words("write", "a", "list", "of", "the", "sea", "cat", "essay", "please"),
        END,
    ]


@given(st.lists(st.sampled_from(KNOWN), max_size=300))
def test_cutting_first_gives_the_same_pieces(reader: PieceReader, words: list[str]) -> None:
    # No word of the vocabulary and its blank is longer than the bytes kept for a piece.
    assert max(map(len, KNOWN)) < BYTES_PER_PIECE
    text = " ".join(words)
    whole = Tokenizer.from_buffer(tokenizer())
    whole.no_truncation()
    pieces = whole.encode(text, add_special_tokens=False).ids
    wanted = pieces if len(pieces) <= HEAD + TAIL else pieces[:HEAD] + pieces[-TAIL:]

    assert reader.ids(text.encode()) == [BEGIN, *wanted, END]


@given(st.binary(max_size=1_000) | st.text(max_size=1_000).map(lambda text: text.encode()))
def test_any_bytes_have_a_bounded_number_of_pieces(reader: PieceReader, text: bytes) -> None:
    ids = reader.ids(text)

    assert 2 <= len(ids) <= HEAD + TAIL + 2
    assert (ids[0], ids[-1]) == (BEGIN, END)
    assert all(0 <= piece < reader.vocabulary_size for piece in ids)
    assert reader.ids(text) == ids


def test_a_character_that_is_cut_in_two_leaves_nothing(reader: PieceReader) -> None:
    kept = HEAD * BYTES_PER_PIECE
    text = b"write " + b" " * (kept - 7) + "é".encode() + b" sea" * 100

    assert reader.ids(text) == [BEGIN, *_words("write"), *_words("sea") * TAIL, END]


def test_no_tail_is_wanted() -> None:
    reader = PieceReader(tokenizer(), 2, 0)

    assert reader.ids(b"write a list") == [BEGIN, *_words("write", "a"), END]
    assert reader.ids(b"write a list " * 50) == [BEGIN, *_words("write", "a"), END]


def test_blanks_have_no_pieces(reader: PieceReader) -> None:
    assert reader.ids(b" " * 10_000) == [BEGIN, END]
