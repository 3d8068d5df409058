"""Results on a terminal."""

from rich.console import Console
from rich.table import Table as View

from alise_bench.compare.results import Results
from alise_bench.compare.tables import brief_tables


def show(results: Results) -> None:
    """Print a table for each load, then the warnings."""
    console = Console()
    for table in brief_tables(results.rows):
        view = View(title=table.title, title_justify="left")
        for position, column in enumerate(table.columns):
            view.add_column(column, justify="right" if position else "left")
        for row in table.rows:
            view.add_row(*row)
        console.print(view)
    for warning in results.conditions["warnings"]:
        console.print(f"- {warning}", markup=False)
