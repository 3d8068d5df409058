"""Which KV cache dtypes are known to work on which platform, and how much smaller they are. Pure.

That a server starts with a dtype proves nothing: vLLM 0.32's CPU platform takes every name and
misreads most of them. A dtype is listed where vLLM's attention backend for the platform declares
it and, for ``cpu``, where its error was measured.

Source: vLLM 0.32 ``v1/attention/backends/cpu_attn.py`` (CPU: auto, fp8, fp8_e4m3, fp8_e5m2; on
an 88M model mean absolute difference of prompt log-probabilities 0.038 for e4m3, 0.077 for e5m2,
0.39 to 0.60 for all others, whatever their width: misread); ``v1/attention/backends/fa_utils.py``
(FlashAttention 3 with fp8 on sm90, 4 on sm100); FlashInfer for sm80 to sm121 with e4m3 and e5m2;
``nvfp4`` on sm100. Only the CPU rows were run by this project; ROCm's were not looked at.
"""

from alise_core.crds.kv_cache_policy import Platform

EXACT = ("auto", "bfloat16", "float16")
_FP8 = ("fp8", "fp8_e4m3", "fp8_e5m2")

ALLOWED: dict[Platform, tuple[str, ...]] = {
    Platform.CPU: (*EXACT, *_FP8),
    Platform.CUDA_AMPERE: (*EXACT, *_FP8),
    Platform.CUDA_ADA: (*EXACT, *_FP8),
    Platform.CUDA_HOPPER: (*EXACT, *_FP8),
    Platform.CUDA_BLACKWELL: (*EXACT, *_FP8, "nvfp4"),
    Platform.ROCM: EXACT,
}

CAPACITY_FACTORS = {"nvfp4": 3.56, **dict.fromkeys(_FP8, 2.0)}
"""KV tokens in the same memory, by 16 bits. fp8: 2.00, measured on the CPU build (1,365 blocks
after 682). nvfp4: 4 bits and an 8-bit scale for 16 values are 4.5 bits, 3.56 times; not run."""

LEVEL_FACTORS = {"none": 1.0, "int8": 1.94, "int4": 3.76}
"""Chunks of the host tier in the same memory. Source: engine/README.md, measured."""


def capacity_factor(dtype: str | None) -> float:
    """KV tokens in the same memory, by 16 bits; 1 for what is not known."""
    return CAPACITY_FACTORS.get(dtype or "auto", 1.0)


def same_dtype(one: str | None, other: str | None) -> bool:
    """Two names of one thing: vLLM's ``fp8`` is ``fp8_e4m3``."""
    return _PLAIN.get(one or "", one) == _PLAIN.get(other or "", other)


_PLAIN = {"fp8": "fp8_e4m3"}


def refusal(dtype: str, platform: Platform | None) -> str | None:
    """Why a dtype is not used; ``None`` where it may be.

    Args:
        dtype: vLLM's ``--kv-cache-dtype``.
        platform: Of the pods; without one only exact dtypes are used.
    """
    if dtype in EXACT:
        return None
    if platform is None:
        return f"dtypes.platform is not set, so {dtype} is not known to work; set it"
    allowed = ALLOWED[platform]
    if dtype in allowed:
        return None
    return (
        f"{dtype} is not known to work on {platform}; take one of {', '.join(allowed)} "
        "(an engine that starts with it may still misread it)"
    )
