"""Vectors of texts, kept on disk between runs: encoding some 10,000 prompts takes minutes."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

_DIGEST_BYTES = 16
_CHUNK = 1_024
"""Texts between two writes: a run that is stopped loses at most so much."""


class VectorCache:
    """Text to vector, computed when first asked for.

    Args:
        file: ``.npz``; created when needed. Its name must change with the encoder.
        encode: Texts to vectors, ``(n, width)``.
        width: Numbers in a vector.
        log: Told how far a long computation is.
    """

    def __init__(
        self,
        file: Path,
        encode: Callable[[Sequence[str]], Vectors],
        width: int,
        log: Callable[[str], None],
    ) -> None:
        self._file = file
        self._encode = encode
        self._log = log
        self._rows: dict[bytes, int] = {}
        self._vectors: Vectors = np.zeros((0, width), np.float32)
        if file.exists():
            with np.load(file) as stored:
                keys, self._vectors = stored["keys"], stored["vectors"]
            self._rows = {key.tobytes(): row for row, key in enumerate(keys)}

    def rows(self, texts: Sequence[str]) -> Vectors:
        """Vectors of the texts, ``(n, width)``."""
        keys = [blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True)
                   if key not in self._rows}  # fmt: skip
        # Texts of one length together: little is padded.
        ordered = sorted(missing.items(), key=lambda item: len(item[1]))
        for start in range(0, len(ordered), _CHUNK):
            self._add(ordered[start : start + _CHUNK])
            self._log(f"{self._file.stem}: {min(start + _CHUNK, len(ordered)):,} of "
                      f"{len(ordered):,} texts")  # fmt: skip
        return self._vectors[[self._rows[key] for key in keys]]

    def _add(self, items: Sequence[tuple[bytes, str]]) -> None:
        made = self._encode([text for _, text in items])
        first = len(self._vectors)
        self._rows.update((key, first + row) for row, (key, _) in enumerate(items))
        self._vectors = np.concatenate((self._vectors, made))
        self._write()

    def _write(self) -> None:
        keys = np.frombuffer(b"".join(self._rows), np.uint8).reshape(-1, _DIGEST_BYTES)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial.npz")
        np.savez(partial, keys=keys, vectors=self._vectors)
        partial.replace(self._file)
