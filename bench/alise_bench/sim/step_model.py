"""How long one engine step takes, from what the step computes.

In: a batch composition (counts of tokens and contexts) and a named profile. Out: seconds.
The form is a linear roofline: a constant (weights read once per step, launches, host), a
compute term per prefilled token, attention of prefill over its context, a term per decoding
sequence, and the KV bytes that decoding reads. Pure; the asyncio engine, the virtual driver
and the discrete-event simulation share it.

Source: the terms follow the roofline argument for transformer inference (weights and KV are
read from memory once per step; FLOPs = 2 x parameters per token, plus 4 x layers x hidden per
token and context position for attention). Parameters: each profile names its own source;
``docs/simulator.md`` shows the arithmetic.
"""

from dataclasses import dataclass, replace

from alise_core.units import Seconds


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step computes; every field is a count and additive over sequences."""

    prefill_tokens: int = 0
    """Tokens of prompts (or of recomputed context) processed in this step."""
    prefill_context: float = 0.0
    """Sum over prefill tokens of the positions each attends to (pairs)."""
    decode_sequences: int = 0
    """Sequences that produce one token from one new position."""
    decode_context: int = 0
    """KV positions read by the decoding sequences together."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A model on a machine: step-time coefficients and KV capacity."""

    name: str
    overhead_seconds: float
    """Per step, whatever its batch."""
    prefill_token_seconds: float
    attention_pair_seconds: float
    """Per (prefill token, context position) pair."""
    decode_sequence_seconds: float
    kv_read_seconds: float
    """Per KV position read by a decoding sequence."""
    num_blocks: int
    block_size: int
    max_model_len: int
    max_num_batched_tokens: int
    max_num_seqs: int
    cache_dtype: str
    source: str

    def step_seconds(self, batch: Batch) -> Seconds:
        """Duration of a step.

        Returns: Seconds > 0; non-decreasing in every field of ``batch``.
        """
        return Seconds(
            self.overhead_seconds
            + self.prefill_token_seconds * batch.prefill_tokens
            + self.attention_pair_seconds * batch.prefill_context
            + self.decode_sequence_seconds * batch.decode_sequences
            + self.kv_read_seconds * batch.decode_context
        )

    @property
    def kv_tokens(self) -> int:
        """KV capacity in tokens."""
        return self.num_blocks * self.block_size


@dataclass(frozen=True, slots=True)
class Hardware:
    """One accelerator as its maker publishes it, and how much of it serving reaches."""

    name: str
    memory_bytes: float
    bandwidth: float
    """Bytes per second."""
    flops: float
    """Dense bf16 operations per second."""
    source: str
    memory_efficiency: float = 0.8
    """Share of the bandwidth that well-tuned GEMV and attention kernels reach."""
    compute_efficiency: float = 0.55
    """Model FLOPs utilisation of chunked prefill."""


@dataclass(frozen=True, slots=True)
class Model:
    """A dense decoder with grouped-query attention."""

    parameters: float
    layers: int
    hidden: int
    kv_heads: int
    head_size: int
    max_model_len: int
    source: str
    element_bytes: int = 2

    @property
    def weight_bytes(self) -> float:
        """Bytes read once per step."""
        return self.parameters * self.element_bytes

    @property
    def kv_token_bytes(self) -> int:
        """KV bytes of one position: keys and values of every layer."""
        return 2 * self.layers * self.kv_heads * self.head_size * self.element_bytes


HOST_SECONDS = 2e-3
"""Scheduling, launch and sampling that a step does not overlap with the device."""
SEQUENCE_SECONDS = 20e-6
"""Sampling and output handling per sequence and step."""
GPU_MEMORY_UTILISATION = 0.9
"""vLLM's default ``--gpu-memory-utilization``."""
ACTIVATION_BYTES = 4e9
"""Activations at 8,192 batched tokens and CUDA graphs."""
BLOCK_SIZE = 16


def derive(name: str, hardware: Hardware, model: Model) -> Profile:
    """A profile from published figures of a device and a model.

    Source: ``hardware.source`` and ``model.source``; the efficiencies are the assumptions.
    """
    bandwidth = hardware.bandwidth * hardware.memory_efficiency
    flops = hardware.flops * hardware.compute_efficiency
    kv_bytes = (
        hardware.memory_bytes * GPU_MEMORY_UTILISATION - model.weight_bytes - ACTIVATION_BYTES
    )
    return Profile(
        name=name,
        overhead_seconds=HOST_SECONDS + model.weight_bytes / bandwidth,
        prefill_token_seconds=2 * model.parameters / flops,
        attention_pair_seconds=4 * model.layers * model.hidden / flops,
        decode_sequence_seconds=SEQUENCE_SECONDS,
        kv_read_seconds=model.kv_token_bytes / bandwidth,
        num_blocks=int(kv_bytes / (model.kv_token_bytes * BLOCK_SIZE)),
        block_size=BLOCK_SIZE,
        max_model_len=model.max_model_len,
        max_num_batched_tokens=8192,
        max_num_seqs=256,
        cache_dtype="auto",
        source=f"{hardware.source}; {model.source}",
    )


LLAMA_3_8B = Model(
    parameters=8.03e9,
    layers=32,
    hidden=4096,
    kv_heads=8,
    head_size=128,
    max_model_len=8192,
    source="Llama 3 8B model card and config.json (bf16)",
)
A100_80GB = Hardware(
    name="A100 SXM 80 GB",
    memory_bytes=80e9,
    bandwidth=2.039e12,
    flops=312e12,
    source="NVIDIA A100 datasheet (SXM, 80 GB: 2,039 GB/s, 312 TFLOPS bf16 dense)",
)
H100_80GB = Hardware(
    name="H100 SXM 80 GB",
    memory_bytes=80e9,
    bandwidth=3.35e12,
    flops=989e12,
    source="NVIDIA H100 datasheet (SXM: 3.35 TB/s, 989 TFLOPS bf16 dense)",
)

OPT_13B = Model(
    parameters=13e9,
    layers=40,
    hidden=5120,
    kv_heads=40,
    head_size=128,
    max_model_len=2048,
    source="OPT 13B config.json (fp16, multi-head attention)",
)
A100_40GB = Hardware(
    name="A100 SXM 40 GB",
    memory_bytes=40e9,
    bandwidth=1.555e12,
    flops=312e12,
    source="NVIDIA A100 datasheet (SXM, 40 GB: 1,555 GB/s, 312 TFLOPS fp16 dense)",
)
PAGED_ATTENTION_SLOTS = 15_700
"""KV positions of OPT 13B in the 12 GB that the paper leaves them on one A100 40 GB."""

A100 = derive("a100", A100_80GB, LLAMA_3_8B)
H100 = derive("h100", H100_80GB, LLAMA_3_8B)
A100_13B = replace(
    derive("a100-13b", A100_40GB, OPT_13B),
    # The published capacity, not this module's estimate; one more for the null block.
    num_blocks=PAGED_ATTENTION_SLOTS // BLOCK_SIZE + 1,
    # A whole prompt of the longest kind fits into one step, and no more.
    max_num_batched_tokens=2048,
    source=(
        f"{A100_40GB.source}; {OPT_13B.source}; KV slots: vLLM paper (arXiv 2309.06180) table 1, "
        "13B on one A100 40 GB: 12 GB for the KV cache, 15.7K slots"
    ),
)
CPU = Profile(
    name="cpu",
    overhead_seconds=2.8e-3,
    prefill_token_seconds=3.5e-6,
    attention_pair_seconds=0.0,
    decode_sequence_seconds=115e-6,
    kv_read_seconds=1.8e-7,
    num_blocks=4096,
    block_size=128,
    max_model_len=4096,
    max_num_batched_tokens=4096,
    max_num_seqs=128,
    cache_dtype="auto",
    source=(
        "vLLM 0.32 CPU build, 4-layer/256-wide random model, two cores, eager: 343, 3,531 and "
        "6,269 tokens/s at concurrency 1, 16 and 64; prefill and KV terms by alise bench calibrate "
        "on one core of a busy machine (docs/simulator.md)"
    ),
)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (A100, H100, A100_13B, CPU)}


def scaled(profile: Profile, speed: float) -> Profile:
    """The same profile with time running ``speed`` times faster; ``speed`` > 0."""
    if speed <= 0:
        raise ValueError(f"speed must be positive, not {speed}")
    return replace(
        profile,
        overhead_seconds=profile.overhead_seconds / speed,
        prefill_token_seconds=profile.prefill_token_seconds / speed,
        attention_pair_seconds=profile.attention_pair_seconds / speed,
        decode_sequence_seconds=profile.decode_sequence_seconds / speed,
        kv_read_seconds=profile.kv_read_seconds / speed,
    )
