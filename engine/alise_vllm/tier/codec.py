"""Packs KV for host memory and unpacks it, as torch operations: on a CPU and on a GPU alike.

A group of 64 values that lie next to each other has one scale: its largest magnitude over the
steps of the level, rounded up to a bfloat16. Rounding up keeps every value within the steps, so
that no value is off by more than half a scale; a bfloat16 has the range of a float32, so that no
scale becomes 0 or infinite. The scales follow the values.

Neighbours are, in most layouts, channels of one head of one token. A scale for one channel of 64
tokens loses a fifth less: on keys of the tiny test model 0.0048 of their norm at ``int8`` against
0.0058, and 0.086 against 0.105 at ``int4``; values likewise. It needs 64 tokens in a block, though:
in blocks of 16 and 32 the scales are so many that ``int8`` holds 1.78 and 1.88 chunks for one, not
1.94. And it needs to know how each attention backend lays out a block, which bytes do not tell.
"""

import torch

from alise_vllm.tier.levels import GROUP, SCALE_BYTES, STEPS, VALUE_BITS, Level

_NIBBLE = 4
_OFFSET = 8
"""Makes the values of ``int4`` positive: -7 to 7 become 1 to 15."""
_LOW_BITS = 0xFFFF
"""What a float32 has and a bfloat16 lacks."""


def pack(raw: torch.Tensor, level: Level, dtype: torch.dtype) -> torch.Tensor:
    """Pack chunks.

    Args:
        raw: Their bytes, uint8, shape (chunks, bytes); contiguous.
        level: How tightly.
        dtype: Of the values; a float of 16 or 32 bits unless the level is ``none``.

    Returns: The packed bytes, uint8, shape (chunks, packed bytes); may be ``raw`` itself.
    """
    if level is Level.NONE:
        return raw
    chunks = raw.shape[0]
    groups = raw.view(dtype).view(chunks, -1, GROUP).float()
    steps = STEPS[level]
    scales = _rounded_up(groups.abs().amax(2, keepdim=True) / steps)
    # A group of zeros has scale 0: 0/0 is no number, and becomes the 0 that it was.
    quotients = torch.nan_to_num(groups / scales, nan=0.0)
    values = quotients.round_().clamp_(-steps, steps).to(torch.int8).view(chunks, -1)
    if level is Level.INT4:
        pairs = (values + _OFFSET).view(torch.uint8).view(chunks, -1, 2)
        packed = pairs[..., 0] | (pairs[..., 1] << _NIBBLE)
    else:
        packed = values.view(torch.uint8)
    return torch.cat((packed, scales.view(chunks, -1).bfloat16().view(torch.uint8)), 1)


def unpack(packed: torch.Tensor, level: Level, dtype: torch.dtype) -> torch.Tensor:
    """Unpack chunks.

    Args:
        packed: What ``pack`` gave, on any device; contiguous.
        level: That they were packed at.
        dtype: Of the values.

    Returns: Their bytes, uint8, shape (chunks, bytes); may be ``packed`` itself.
    """
    if level is Level.NONE:
        return packed
    chunks, size = packed.shape
    elements = size * GROUP * 8 // (GROUP * VALUE_BITS[level] + SCALE_BYTES * 8)
    cut = elements * VALUE_BITS[level] // 8
    scales = packed[:, cut:].contiguous().view(torch.bfloat16).float()
    values = packed[:, :cut].contiguous()
    if level is Level.INT4:
        pairs = torch.stack((values & (1 << _NIBBLE) - 1, values >> _NIBBLE), 2)
        whole = pairs.to(torch.int8) - _OFFSET
    else:
        whole = values.view(torch.int8)
    groups = whole.view(chunks, -1, GROUP).float() * scales.view(chunks, -1, 1)
    return groups.to(dtype).view(chunks, -1).view(torch.uint8)


def _rounded_up(scales: torch.Tensor) -> torch.Tensor:
    """The next bfloat16 that is not smaller; of positive float32."""
    bits = scales.contiguous().view(torch.int32)
    return ((bits + _LOW_BITS) & ~_LOW_BITS).view(torch.float32)
