"""Writes looks to a file, to be decided again. What it cannot write it leaves out, and says so."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from alise_operator.tuning.recording import Look, line_of


class Recorder:
    """See the module.

    Args:
        path: Of the file; lines are added to one that is there.
        most_bytes: Of it; then it becomes ``FILE.1``, in place of an earlier one, and another is
            begun.
        warn: Told why a look was left out; once, until one is written again.
    """

    def __init__(self, path: Path, most_bytes: int, warn: Callable[[str], None]) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._warn = warn
        self._writing = asyncio.Lock()
        self._failed = False

    async def note(self, look: Look) -> None:
        """Add a look."""
        line = line_of(look)
        async with self._writing:
            try:
                await asyncio.to_thread(self._append, line)
            except OSError as error:
                if not self._failed:
                    self._warn(f"{self._path}: {error.strerror}")
                self._failed = True
            else:
                self._failed = False

    def _append(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
            size = file.tell()
        if size >= self._most_bytes:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
