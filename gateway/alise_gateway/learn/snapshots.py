"""What was learned, on disk: written aside and renamed, read once at the start.

A snapshot that is damaged or belongs to another bundle costs what was learned and nothing else.
"""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import structlog

from alise_core.errors import AliseError
from alise_gateway.domain.prediction import SnapshotOperation

_MOST_BYTES = 2**30
_LOG = structlog.get_logger(__name__)


class Learned(Protocol):
    """What can be saved: an ``alise_predictor.online.OnlineLearner``."""

    def __len__(self) -> int: ...

    def snapshot(self) -> bytes:
        """Everything learned."""
        ...

    def restore(self, data: bytes) -> None:
        """Replace everything learned; raises ``AliseError`` and changes nothing if damaged."""
        ...


class Learning(Protocol):
    """Whoever changes what is learned: an ``alise_gateway.learn.answers.AnswerLearner``."""

    def pause(self) -> None:
        """Change nothing for now."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...


class SnapshotKeeper:
    """Saves what is learned, now and then and at the end.

    Tens of megabytes are packed and written on a thread; learning rests meanwhile, predicting,
    which only reads, does not.

    Args:
        path: The file; its directory must exist.
        seconds: Between two snapshots.
        learned: Gives what is to be saved now; it changes with the bundle. ``None`` leaves the
            file as it is, because what is learned now is not about the bundle that it is about.
        learning: Rests while a snapshot is taken.
        on_done: Told what was done and whether it worked; for metrics.
        sleep: Waits between two snapshots.
    """

    def __init__(
        self,
        path: Path,
        seconds: float,
        learned: Callable[[], Learned | None],
        learning: Learning,
        on_done: Callable[[SnapshotOperation, bool], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._seconds = seconds
        self._learned = learned
        self._learning = learning
        self._on_done = on_done
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self._saving = asyncio.Lock()

    def start(self) -> None:
        """Save from time to time."""
        self._task = asyncio.create_task(self._save_now_and_then(), name="predictor-snapshots")

    async def stop(self, last_lessons: Callable[[], None]) -> None:
        """Save a last time, where it was started.

        Args:
            last_lessons: Learns what is left, when no thread reads what was learned any more.
        """
        task, self._task = self._task, None
        if task is None:
            return
        async with self._saving:
            # A thread that reads what is learned is waited for, not abandoned.
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        last_lessons()
        await self.save()

    async def restore(self) -> None:
        """Read the file; where that does not work, begin with nothing learned."""
        learned = self._learned()
        if learned is None:
            return
        try:
            data = await asyncio.to_thread(_read, self._path)
            if data is None:
                return
            learned.restore(data)
        except (AliseError, OSError) as error:
            self._on_done(SnapshotOperation.RESTORE, False)
            _LOG.error("snapshot_not_restored", path=str(self._path), reason=_reason(error))
            return
        self._on_done(SnapshotOperation.RESTORE, True)
        _LOG.info("snapshot_restored", path=str(self._path), keys=len(learned))

    async def save(self) -> None:
        """Write the file; the old one stays where that does not work."""
        async with self._saving:
            learned = self._learned()
            if learned is None:
                return
            self._learning.pause()
            try:
                await asyncio.to_thread(_save, self._path, learned)
            except OSError as error:
                self._on_done(SnapshotOperation.SAVE, False)
                _LOG.error("snapshot_not_saved", path=str(self._path), reason=_reason(error))
                return
            finally:
                self._learning.resume()
        self._on_done(SnapshotOperation.SAVE, True)

    async def _save_now_and_then(self) -> None:
        while True:
            await self._sleep(self._seconds)
            await self.save()


def _reason(error: AliseError | OSError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)


def _read(path: Path) -> bytes | None:
    """The file's bytes; ``None`` where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None


def _save(path: Path, learned: Learned) -> None:
    """Whole or not at all, whenever the machine stops."""
    data = learned.snapshot()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
