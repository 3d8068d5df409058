"""Probes pairs of real vLLM servers, as the operator probes a canary and an unchanged pod."""

import asyncio
from collections.abc import Sequence

import httpx

from alise_operator.canary.probe import Prober, probe_pair, probe_prompts
from alise_operator.canary.quality import Quality, compare
from running.vllm import MODEL, VllmServer

TOKENS = 48
"""That an unchanged server draws per prompt."""


def probe(
    unchanged: VllmServer, changed: VllmServer, seed: int, prompts: Sequence[str] = ()
) -> Quality:
    """What the operator would find."""

    async def ask() -> Quality:
        async with httpx.AsyncClient(timeout=120.0, trust_env=False) as client:
            pair = [
                Prober(client, server.url, MODEL, timeout_seconds=120.0)
                for server in (unchanged, changed)
            ]
            chosen = tuple(prompts) or probe_prompts()
            return compare(*await probe_pair(pair[0], pair[1], chosen, TOKENS, seed))

    return asyncio.run(ask())
