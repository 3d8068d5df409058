"""The model and the machine of the simulated pool, and what is assumed of its host tier."""

from dataclasses import replace

from alise_bench.sim.step_model import H100_80GB, Model, Profile, derive
from alise_operator.tuning.platforms import LEVEL_FACTORS, capacity_factor

MISTRAL_SMALL_24B = Model(
    parameters=23.6e9,
    layers=40,
    hidden=5120,
    kv_heads=8,
    head_size=128,
    max_model_len=32_768,
    source="Mistral Small 24B config.json (bf16)",
)
H100_24B = derive("h100-24b", H100_80GB, MISTRAL_SMALL_24B)
"""Weights leave 21 GB of the 80 for KV: about 126,000 tokens, so that memory limits the batch."""

KV_TOKEN_BYTES = MISTRAL_SMALL_24B.kv_token_bytes
HOST_BANDWIDTH = 25e9
"""Bytes a second from host to device: 40 % of PCIe 5.0 x16's 63 GB/s. An assumption."""
TIER_BYTES = 8 << 30
"""Of a pod's host tier at the start: about 52,000 tokens at level none."""


def with_dtype(profile: Profile, dtype: str, slowdown: float = 1.0) -> Profile:
    """The same engine with another KV cache dtype.

    Args:
        profile: With 16-bit KV.
        dtype: vLLM's ``--kv-cache-dtype``.
        slowdown: Of every step, for what reading packed KV costs; 1 is nothing.
    """
    factor = capacity_factor(dtype)
    if factor == 1:
        return profile
    return replace(
        profile,
        num_blocks=int(profile.num_blocks * factor),
        # Half the bytes are read in half the time.
        kv_read_seconds=profile.kv_read_seconds / factor * slowdown,
        overhead_seconds=profile.overhead_seconds * slowdown,
        decode_sequence_seconds=profile.decode_sequence_seconds * slowdown,
        cache_dtype=dtype,
    )


def tier_tokens(capacity_bytes: int, level: str) -> float:
    """KV tokens that a host tier holds."""
    return capacity_bytes * LEVEL_FACTORS[level] / KV_TOKEN_BYTES


def load_seconds(tokens: int, level: str) -> float:
    """To bring tokens back from the host; unpacking on the device is taken to be free."""
    return tokens * KV_TOKEN_BYTES / LEVEL_FACTORS[level] / HOST_BANDWIDTH
