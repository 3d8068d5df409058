"""Results on a terminal."""

from rich.console import Console

from alise_bench.compare.results import Results
from alise_bench.compare.tables import brief_tables
from alise_bench.overhead.console import show_tables


def show(results: Results) -> None:
    """Print a table for each load, then the warnings."""
    console = Console()
    show_tables(console, brief_tables(results.rows))
    for warning in results.conditions["warnings"]:
        console.print(f"- {warning}", markup=False)
