import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from alise_predictor.train.dataset.tokens import TokenCounter, Tokenizer


@pytest.fixture
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rank file which knows the 256 bytes and nothing else: one token a byte."""
    path = tmp_path_factory.mktemp("ranks") / "bytes.tiktoken"
    lines = [f"{base64.b64encode(bytes([i])).decode()} {i}" for i in range(256)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def byte_tokenizer(ranks: Path) -> Tokenizer:
    digest = hashlib.sha256(ranks.read_bytes()).hexdigest()
    return Tokenizer(name="bytes", pattern=r"(?s).", sha256=digest)


@pytest.fixture
def counter(ranks: Path, byte_tokenizer: Tokenizer) -> TokenCounter:
    return TokenCounter(ranks, None, byte_tokenizer)


@pytest.fixture
def write_lines() -> Callable[..., Path]:
    """Writes objects as JSON lines, compressed when the name ends in .zst."""

    def write(path: Path, rows: list[object]) -> Path:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        return _write(path, text.encode())

    return write


@pytest.fixture
def write_list() -> Callable[..., Path]:
    """Writes one JSON list."""

    def write(path: Path, rows: list[object]) -> Path:
        return _write(path, json.dumps(rows).encode())

    return write


def _write(path: Path, raw: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = path.suffix == ".zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(raw) if packed else raw)
    return path


@pytest.fixture
def write_table() -> Callable[..., Path]:
    """Writes columns as a Parquet file."""

    def write(path: Path, columns: dict[str, list[object]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path

    return write
