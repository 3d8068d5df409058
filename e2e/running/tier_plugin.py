"""A way into a running engine for tests: state and changes of the host KV tier over HTTP.

``{"always_loads": true}`` has it load whatever that costs: what it is worth depends on how busy the
machine is, and what comes back from the tier does not. Loaded by vLLM itself as plugins of both
groups; ``install`` writes what its loader looks for.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAME = "tier_test"


def install(directory: Path) -> dict[str, str]:
    """Write the entry points; returns variables for the server, but for ``PYTHONPATH``."""
    info = directory / f"{NAME}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0\n")
    (info / "entry_points.txt").write_text(
        f"[vllm.general_plugins]\n{NAME} = {__name__}:register\n"
        f"[vllm.endpoint_plugins]\n{NAME} = {__name__}:Endpoint\n"
    )
    return {"VLLM_PLUGINS": NAME}


def register() -> None:
    from vllm.v1.engine.core import EngineCore  # noqa: PLC0415  in vLLM's environment only

    from alise_vllm.tier.worth import Worth  # noqa: PLC0415  the same

    class Gladly(Worth):
        """Has prices and does not go by them."""

        def to_load(self, tokens: int, size_bytes: int) -> bool:
            del tokens, size_bytes
            return True

    def tier_state(core: Any) -> dict[str, Any]:
        connector = core.scheduler.get_kv_connector()
        pool = core.scheduler.kv_cache_manager.block_pool
        return {
            **connector.tier.state(),
            "free_blocks": pool.get_num_free_blocks(),
            "jobs": len(connector.scheduler._jobs),
            "pinned": sum(chunk.ref_cnt != 0 for _, chunk in connector.tier.store.items()),
            "living": len(connector.scheduler._req_status),
        }

    def tier_change(core: Any, changes: dict[str, Any]) -> dict[str, Any]:
        connector = core.scheduler.get_kv_connector()
        if changes.pop("always_loads", False):
            connector.tier.worth = Gladly(
                connector.tier.worth.copies, connector.tier.worth.prefills
            )
        start = time.perf_counter()
        try:
            changed = connector.tier.plan(changes)()
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"changed": changed, "milliseconds": (time.perf_counter() - start) * 1e3}

    EngineCore.tier_state = tier_state
    EngineCore.tier_change = tier_change


class Endpoint:
    name = NAME
    required_tasks = ("generate",)

    def attach_router(self, app: Any) -> None:
        from fastapi import Request  # noqa: PLC0415  in vLLM's environment only

        async def state(request: Request) -> Any:
            return await _core(request)("tier_state")

        async def change(request: Request) -> Any:
            return await _core(request)("tier_change", await request.json())

        app.get("/tier")(state)
        app.post("/tier")(change)

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        pass


def _core(request: Any) -> Callable[..., Any]:
    found: Callable[..., Any] = request.app.state.engine_client.engine_core.call_utility_async
    return found
