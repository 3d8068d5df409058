"""Length of answer texts in tokens of one named tokenizer, cl100k_base.

The tokenizer's ranks are a file of 1.7 MB that tiktoken fetches on first use; where that is not
possible, PyPI packages carry the same file. Whatever its origin, its hash is checked.
"""

import base64
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import tiktoken

from alise_predictor.train.dataset.errors import RanksUnavailableError

CACHE_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""tiktoken's name for the rank file, under which packages that carry it keep it as well."""

_REMEDY = (
    "pass the path of the rank file; it is part of the PyPI packages llama-index-core "
    f"(llama_index/core/_static/tiktoken_cache/{CACHE_FILE}) and litellm "
    f"(litellm/litellm_core_utils/tokenizers/{CACHE_FILE}): "
    "pip download --no-deps llama-index-core, then unzip the wheel"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A byte-pair tokenizer.

    Attributes:
        name: Its name in cards and reports.
        pattern: The regular expression that cuts a text into pieces to be merged.
        sha256: Hash of its rank file.
    """

    name: str
    pattern: str
    sha256: str


CL100K_BASE = Tokenizer(
    name="cl100k_base",
    pattern=(
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+|"""
        r""" ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    ),
    sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
)


class TokenCounter:
    """Counts tokens of texts.

    Attributes:
        tokenizer: Whose tokens.
    """

    __slots__ = ("_cache_dir", "_encoding", "_ranks", "tokenizer")

    def __init__(
        self,
        ranks: Path | None,
        cache_dir: Path | None = None,
        tokenizer: Tokenizer = CL100K_BASE,
    ) -> None:
        """Nothing is read before the first count.

        Args:
            ranks: The rank file, or a directory that holds it under tiktoken's name; None
                looks in the package that carries it and in tiktoken's default cache.
            cache_dir: Where counts are kept between runs.
            tokenizer: Whose tokens to count.
        """
        self.tokenizer = tokenizer
        self._ranks = ranks
        self._cache_dir = cache_dir
        self._encoding: tiktoken.Encoding | None = None

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; special tokens' names count as ordinary text.

        Raises:
            RanksUnavailableError: There is no rank file, or it is not the expected one.
        """
        path = self._cache_path(texts)
        if path is not None and path.is_file():
            known: list[int] = json.loads(path.read_bytes())
            return known
        if self._encoding is None:
            self._encoding = load_encoding(self._ranks, self.tokenizer)
        counts = [len(tokens) for tokens in self._encoding.encode_ordinary_batch(list(texts))]
        if path is not None:
            _write_whole(path, json.dumps(counts).encode())
        return counts

    def _cache_path(self, texts: Sequence[str]) -> Path | None:
        if self._cache_dir is None:
            return None
        digest = hashlib.sha256(self.tokenizer.sha256.encode())
        for text in texts:
            raw = text.encode("utf-8", "replace")
            digest.update(len(raw).to_bytes(8))
            digest.update(raw)
        return self._cache_dir / f"tokens-{digest.hexdigest()}.json"


def load_encoding(ranks: Path | None, tokenizer: Tokenizer) -> tiktoken.Encoding:
    """The tokenizer without special tokens, from a verified rank file."""
    path = find_ranks(ranks)
    raw = path.read_bytes()
    if hashlib.sha256(raw).hexdigest() != tokenizer.sha256:
        raise RanksUnavailableError(
            f"{path} is not {tokenizer.name}'s rank file: its SHA-256 is not {tokenizer.sha256}; "
            f"{_REMEDY}"
        )
    return tiktoken.Encoding(
        tokenizer.name,
        pat_str=tokenizer.pattern,
        mergeable_ranks=_parse(raw),
        special_tokens={},
    )


def _parse(raw: bytes) -> dict[bytes, int]:
    # tiktoken's own reader keeps a copy under the path's hash and would serve it for another file.
    pairs = (line.split() for line in raw.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def find_ranks(ranks: Path | None) -> Path:
    """The rank file: as given, or from the package that carries it, or in tiktoken's cache."""
    if ranks is None:
        ranks = _packaged_ranks() or Path(tempfile.gettempdir()) / "data-gym-cache"
    path = ranks / CACHE_FILE if ranks.is_dir() else ranks
    if not path.is_file():
        raise RanksUnavailableError(f"{path}: no rank file there; {_REMEDY}")
    return path


def _packaged_ranks() -> Path | None:
    """The directory in ``llama-index-core``, which is looked at and not imported."""
    namespace = find_spec("llama_index")
    for place in (namespace and namespace.submodule_search_locations) or ():
        directory = Path(place, "core/_static/tiktoken_cache")
        if (directory / CACHE_FILE).is_file():
            return directory
    return None


def _write_whole(path: Path, raw: bytes) -> None:
    # Written aside and moved, so that a run that is killed leaves no half a file.
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(raw)
    Path(file.name).replace(path)
