"""Tables of any benchmark on a terminal."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table


class Printable(Protocol):
    """A heading, column names and rows of text; the first column is a name."""

    @property
    def title(self) -> str:
        """Above the table."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """One name for each cell of a row."""
        ...

    @property
    def rows(self) -> Sequence[Sequence[str]]:
        """Cells, all rows of one length."""
        ...


def show_tables(console: Console, tables: Iterable[Printable]) -> None:
    """Print tables one below the other, names to the left and figures to the right."""
    for table in tables:
        view = Table(title=table.title, title_justify="left")
        for position, column in enumerate(table.columns):
            view.add_column(column, justify="right" if position else "left")
        for row in table.rows:
            view.add_row(*row)
        console.print(view)
