"""Draw the data that ``make train`` uses without ``DATA``: a little of each permissive data set.

Usage: ``python tools/make_predictor_sample.py --data DIRECTORY`` (in an environment with pyarrow
and zstandard, such as ``.venv``). The directory is laid out as ``make train`` wants it; the sample
in ``predictor/sample`` has the same layout. Rows are copied unchanged, in their order; which ones
is decided by a hash of the seed and the row's place or id, so that no library's version matters.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.parquet
import zstandard

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = 450
"""Of each file: 12 % of them test, and figures need 40 in one group."""
LISTS = (
    "gpteacher/codegen-instruct.json",
    "gpteacher/roleplay-simple-deduped-roleplay-instruct.json",
    "gpteacher/toolformer-dedupe-only-dataset.json",
)
LINES = ("gsm8k_solutions/example_model_solutions.jsonl",)
TABLES = (
    ("mmlu_pro/questions.parquet", "mmlu_pro/output_tokens_cl100k_12032x29.parquet"),
    ("oasst_eval/prompts.parquet", "oasst_eval/lengths.parquet"),
)
UNUSED = ("chars", "ptok", "__index_level_0__")
"""Columns that no reader looks at."""
LEVEL = 19


def main(arguments: list[str]) -> int:
    """Write the sample; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="directory of the data sets")
    parser.add_argument("--out", type=Path, default=ROOT / "predictor/sample")
    parser.add_argument("--prompts", type=int, default=PROMPTS, help="of each file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    def draw(name: str, keys: Collection[str]) -> set[str]:
        ranked = sorted(keys, key=lambda key: _rank(f"{options.seed}/{name}/{key}"))
        return set(ranked[: options.prompts])

    for name in LISTS:
        sample_list(options.data / f"{name}.zst", options.out / f"{name}.zst", draw)
    for name in LINES:
        sample_lines(options.data / f"{name}.zst", options.out / f"{name}.zst", draw)
    for prompts, lengths in TABLES:
        sample_tables(options.data, options.out, (prompts, lengths), draw)
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {size / 1e6:.2f} MB")
    return 0


Draw = Callable[[str, Collection[str]], set[str]]
"""File name and the keys of its rows to the keys of the rows that are kept."""


def sample_list(source: Path, target: Path, draw: Draw) -> None:
    """Some elements of a compressed JSON list."""
    rows = json.loads(_decompress(source))
    kept = draw(source.name, [str(number) for number in range(len(rows))])
    chosen = [row for number, row in enumerate(rows) if str(number) in kept]
    text = ",\n".join(json.dumps(row, ensure_ascii=False) for row in chosen)
    _compress(target, f"[{text}]\n".encode())


def sample_lines(source: Path, target: Path, draw: Draw) -> None:
    """Some lines of a compressed file of JSON lines."""
    lines = _decompress(source).splitlines(keepends=True)
    kept = draw(source.name, [str(number) for number in range(len(lines))])
    _compress(target, b"".join(line for number, line in enumerate(lines) if str(number) in kept))


def sample_tables(data: Path, out: Path, names: tuple[str, str], draw: Draw) -> None:
    """Some prompts, and every answer's length to them.

    Args:
        data: Where the files are.
        out: Where they go.
        names: Of the table of prompts and of the table of lengths, both with a column ``pid``.
        draw: Decides.
    """
    prompts, lengths = (pyarrow.parquet.read_table(data / name) for name in names)
    kept = pyarrow.array(sorted(draw(names[0], prompts["pid"].to_pylist())))
    for name, table in zip(names, (prompts, lengths), strict=True):
        chosen = table.filter(pyarrow.compute.is_in(table["pid"], value_set=kept))
        columns = [column for column in chosen.column_names if column not in UNUSED]
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(
            chosen.select(columns).replace_schema_metadata(None),
            out / name,
            compression="zstd",
            compression_level=LEVEL,
        )


def _rank(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _decompress(path: Path) -> bytes:
    with path.open("rb") as file:
        content: bytes = zstandard.ZstdDecompressor().stream_reader(file).read()
    return content


def _compress(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor(level=LEVEL).compress(content))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
