"""Waiting that ends when a test says so, instead of after some time."""

import asyncio


class FakePacing:
    """Stands in for ``asyncio.sleep`` in background loops.

    Attributes:
        asked: Every duration that was slept for, in order.
    """

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._sleepers: list[asyncio.Future[None]] = []
        self._arrived = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        self._arrived.release()
        await sleeper

    async def until_asleep(self, sleepers: int = 1) -> None:
        """Wait until this many more calls of ``sleep`` have been made."""
        for _ in range(sleepers):
            await self._arrived.acquire()

    def wake(self) -> None:
        """Let everybody who sleeps go on."""
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            if not sleeper.done():
                sleeper.set_result(None)
