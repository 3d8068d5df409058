"""Switches of a simulated engine that are not vLLM's: faults, state, drain.

``/sim/faults`` arms (POST, one object or a list), lists (GET) and clears (DELETE) faults;
``/sim/state`` shows the scheduler. ``/alise/drain`` and ``/alise/ready`` behave as the engine
plugin's middleware and exist only where it is configured.
"""

from dataclasses import asdict
from typing import Any

import msgspec

from alise_bench.sim.engine import Engine
from alise_bench.sim.exchange import Exchange
from alise_bench.sim.faults import Fault, FaultPlan


class Control:
    """Control state of one engine.

    Attributes:
        draining: The drain middleware refuses new requests.
        shut_down: The engine takes nothing new, as vLLM after SIGTERM.
    """

    def __init__(self, engine: Engine, faults: FaultPlan) -> None:
        self.draining = False
        self.shut_down = False
        self._engine = engine
        self._faults = faults

    async def faults(self, exchange: Exchange) -> None:
        """``/sim/faults``."""
        if exchange.method == "POST":
            try:
                armed = parse_faults(await exchange.body())
            except ValueError as error:
                await exchange.reply(400, {"error": str(error)})
                return
            for fault in armed:
                self._faults.arm(fault)
        elif exchange.method == "DELETE":
            self._faults.clear()
        listed = [asdict(fault) for fault in self._faults.armed()]
        await exchange.reply(200, {"armed": listed})

    async def state(self, exchange: Exchange) -> None:
        """``/sim/state``."""
        await exchange.reply(200, self.snapshot())

    def snapshot(self) -> dict[str, Any]:
        """What the scheduler holds now."""
        scheduler = self._engine.scheduler
        return {
            "running": [item.request.request_id for item in scheduler.running],
            "waiting": [item.request.request_id for item in scheduler.waiting],
            "kv_usage_ratio": scheduler.pool.usage_ratio,
            "free_blocks": scheduler.pool.free,
            "steps": self._engine.steps,
            "draining": self.draining,
        }

    async def drain(self, exchange: Exchange) -> None:
        """``POST /alise/drain``."""
        self.draining = True
        await exchange.reply(200, {"draining": True})

    async def undrain(self, exchange: Exchange) -> None:
        """``POST /alise/undrain``."""
        self.draining = False
        await exchange.reply(200, {"draining": False})

    async def ready(self, exchange: Exchange) -> None:
        """``GET /alise/ready``."""
        await exchange.reply(503 if self.draining else 200, {"ready": not self.draining})


def parse_faults(raw: bytes | str) -> list[Fault]:
    """Faults from JSON: one object or a list of objects with the fields of ``Fault``.

    Raises:
        ValueError: Not of that form; says what is wrong.
    """
    try:
        parsed = msgspec.json.decode(raw, type=Fault | list[Fault])
    except msgspec.DecodeError as error:
        raise ValueError(f"not a fault: {error}") from error
    return parsed if isinstance(parsed, list) else [parsed]
