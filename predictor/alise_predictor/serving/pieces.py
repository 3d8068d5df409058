"""A prompt's first and last word pieces; the same code for training and serving."""

from collections.abc import Sequence

from tokenizers import Tokenizer

BYTES_PER_PIECE = 8
"""Bytes kept for each wanted piece. Text has 3 to 5 bytes to a piece in every script tried, so what
is wanted survives the cut; runs of blanks, which have no pieces, may cost some."""


class PieceReader:
    """Turns text into the ids of ``[CLS] head .. tail [SEP]``; thread-safe.

    Tokenizing costs time in proportion to the text, so a long text is cut before, not after.

    Args:
        tokenizer: Content of a ``tokenizer.json``.
        head_pieces: Word pieces from the beginning.
        tail_pieces: Word pieces from the end, where the text is longer than both together.

    Raises:
        ValueError: The tokenizer cannot be read or has no ``[CLS]`` or ``[SEP]``.
    """

    __slots__ = ("_begin", "_end", "_head", "_tail", "_tokenizer")

    def __init__(self, tokenizer: bytes, head_pieces: int, tail_pieces: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
        except Exception as error:
            # The library raises bare Exception.
            raise ValueError(f"not a tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._begin = self._special("[CLS]")
        self._end = self._special("[SEP]")
        self._head = head_pieces
        self._tail = tail_pieces

    @property
    def vocabulary_size(self) -> int:
        """Ids are below this."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def ids(self, text: bytes) -> list[int]:
        """Between 2 and ``head_pieces + tail_pieces + 2`` ids.

        Args:
            text: UTF-8; what is none is read as replacement characters.
        """
        head_bytes, tail_bytes = self._head * BYTES_PER_PIECE, self._tail * BYTES_PER_PIECE
        if len(text) <= head_bytes + tail_bytes:
            pieces = self._pieces(text)
            if len(pieces) > self._head + self._tail:
                pieces = [*pieces[: self._head], *self._last(pieces)]
            return [self._begin, *pieces, self._end]
        head = self._pieces(text[:head_bytes])[: self._head]
        tail = self._last(self._pieces(text[len(text) - tail_bytes :]))
        return [self._begin, *head, *tail, self._end]

    def _pieces(self, text: bytes) -> list[int]:
        decoded = text.decode("utf-8", "replace")
        ids: list[int] = self._tokenizer.encode(decoded, add_special_tokens=False).ids
        return ids

    def _last(self, pieces: Sequence[int]) -> Sequence[int]:
        return pieces[max(0, len(pieces) - self._tail) :]

    def _special(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer has no {token}")
        return int(found)
