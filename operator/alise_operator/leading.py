"""Does what only the leader does, for as long as this process leads."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog


class WhileLeading:
    """Starts the work when leadership comes and ends it when it goes.

    Args:
        work: Runs until cancelled; called once for every time that this process leads.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._leads = asyncio.Event()
        self._yields = asyncio.Event()
        self._yields.set()
        self._log = structlog.get_logger("alise_operator")

    @property
    def leads(self) -> bool:
        """Whether this process is the leader."""
        return self._leads.is_set()

    def on_change(self, leads: bool) -> None:
        """Leadership came or went."""
        (self._leads if leads else self._yields).set()
        (self._yields if leads else self._leads).clear()

    async def run(self) -> None:
        """Work whenever this process leads, until cancelled.

        Raises:
            RuntimeError: The work ended by itself, which it never should.
        """
        while True:
            await self._leads.wait()
            await self._lead()

    async def _lead(self) -> None:
        work = asyncio.ensure_future(self._work())
        lost = asyncio.ensure_future(self._yields.wait())
        try:
            await asyncio.wait({work, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = work.done()
            for task in (work, lost):
                task.cancel()
            await asyncio.gather(work, lost, return_exceptions=True)
        if ended and not work.cancelled():
            raise RuntimeError("the leader's work ended by itself") from work.exception()
