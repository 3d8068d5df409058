"""``alise bench report-overhead``: the document and the picture of a result file, beside it."""

import argparse
import sys
from pathlib import Path

from alise_bench.overhead.plot import draw
from alise_bench.overhead.report import render
from alise_bench.overhead.results import decode
from alise_core.errors import ConfigError


def main(arguments: list[str]) -> int:
    """Write ``NAME.md`` and ``NAME.svg`` beside ``NAME.json``.

    Raises:
        ConfigError: The file cannot be read or is no result file.
    """
    parser = argparse.ArgumentParser(
        prog="alise bench report-overhead",
        description="Render a result file of 'alise bench overhead' as Markdown and SVG.",
    )
    parser.add_argument("results", type=Path, metavar="FILE.json")
    options = parser.parse_args(arguments)
    try:
        results = decode(options.results.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {options.results}: {error}") from error
    document = options.results.with_suffix(".md")
    document.write_text(
        render(results).replace("overhead.svg", options.results.with_suffix(".svg").name),
        encoding="utf-8",
    )
    draw(results, options.results.with_suffix(".svg"))
    sys.stderr.write(f"written: {document} and {options.results.with_suffix('.svg')}\n")
    return 0
