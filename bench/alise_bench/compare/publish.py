"""The files of a result: JSON, the document, the pictures."""

from pathlib import Path

from alise_bench.compare.plot import draw
from alise_bench.compare.report import render
from alise_bench.compare.results import Results, decode
from alise_bench.overhead.results import encode
from alise_core.errors import ConfigError


def publish(results: Results, folder: Path, name: str) -> list[Path]:
    """Write ``NAME.json``, ``NAME.md`` and ``NAME-*.svg``; the same results give the same files.

    Args:
        results: What was found.
        folder: Made where it is missing.
        name: Of the files.

    Returns: What was written.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        data, document = folder / f"{name}.json", folder / f"{name}.md"
        data.write_bytes(encode(results))
        # From the file, so that a document that is rendered later is the same.
        read = decode(data.read_bytes())
        pictures = draw(read, folder, name)
        document.write_text(render(read, [file.name for file in pictures]), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {folder}: {error.strerror}; name another folder") from error
    return [data, document, *pictures]
