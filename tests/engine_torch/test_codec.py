"""Packing loses no more than it says, and nothing where nothing needs to be lost."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alise_vllm.tier.codec import pack, unpack
from alise_vllm.tier.levels import GROUP, STEPS, ChunkShape, Level

DTYPES = [torch.bfloat16, torch.float16, torch.float32]
PACKED = [Level.INT8, Level.INT4]
VALUES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 4).map(lambda groups: groups * GROUP)),
    elements=st.floats(-1e4, 1e4, width=32),
    fill=st.just(0.0),
)
ROUNDING = {torch.bfloat16: 2**-8, torch.float16: 2**-10, torch.float32: 2**-22}
"""Of the values that come back, relative to the largest of their group."""


def as_bytes(values: torch.Tensor) -> torch.Tensor:
    return values.contiguous().view(torch.uint8)


def there_and_back(values: torch.Tensor, level: Level) -> torch.Tensor:
    shape = ChunkShape(values[0].numel() * values.dtype.itemsize, values.dtype.itemsize)
    packed = pack(as_bytes(values), level, values.dtype)
    assert packed.shape == (values.shape[0], shape.bytes_at(level))
    back = unpack(packed, level, values.dtype)
    assert back.shape == (values.shape[0], shape.raw_bytes)
    return back.view(values.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", PACKED)
@given(drawn=VALUES)
def test_no_value_is_off_by_more_than_half_a_step(
    level: Level, dtype: torch.dtype, drawn: np.ndarray
) -> None:
    values = torch.from_numpy(drawn).to(dtype)
    back = there_and_back(values, level).float().view(-1, GROUP)

    groups = values.float().view(-1, GROUP)
    largest = groups.abs().amax(1, keepdim=True)
    # A scale is rounded up to 8 significant bits.
    half_a_step = largest / STEPS[level] / 2 * (1 + 2**-7)
    assert torch.all((back - groups).abs() <= half_a_step + largest * ROUNDING[dtype] + 1e-7)


@pytest.mark.parametrize("level", PACKED)
@given(drawn=VALUES)
def test_a_second_time_loses_next_to_nothing(level: Level, drawn: np.ndarray) -> None:
    once = there_and_back(torch.from_numpy(drawn), level)
    twice = there_and_back(once, level)

    largest = once.view(-1, GROUP).abs().amax(1, keepdim=True)
    off = (twice - once).view(-1, GROUP).abs()
    assert torch.all(off <= largest / STEPS[level] / 2 * (1 + 2**-7) + 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@given(raw=st.binary(min_size=256, max_size=256))
def test_none_keeps_every_byte(dtype: torch.dtype, raw: bytes) -> None:
    chunk = torch.tensor([list(raw)], dtype=torch.uint8)

    assert torch.equal(unpack(pack(chunk, Level.NONE, dtype), Level.NONE, dtype), chunk)


@pytest.mark.parametrize("level", PACKED)
def test_zeros_stay_zeros_and_tiny_and_huge_values_their_size(level: Level) -> None:
    values = torch.zeros(1, 5 * GROUP, dtype=torch.bfloat16)
    for group, size in enumerate((0.0, 1e-30, 3e38, 1.0)):
        values[0, group * GROUP] = size
    back = there_and_back(values, level)

    assert torch.allclose(back.float(), values.float(), rtol=2**-6, atol=0)


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf")])
@pytest.mark.parametrize("level", PACKED)
def test_what_is_no_number_stays_in_its_group(level: Level, nonsense: float) -> None:
    values = torch.ones(1, 3 * GROUP)
    values[0, GROUP] = nonsense
    back = there_and_back(values, level)

    assert not torch.isfinite(back[0, GROUP])
    assert torch.allclose(back[0, :GROUP], values[0, :GROUP], rtol=2**-7)
    assert torch.allclose(back[0, 2 * GROUP :], values[0, :GROUP], rtol=2**-7)


def test_int8_is_closer_than_int4_and_both_are_close() -> None:
    torch.manual_seed(3)
    values = torch.randn(4, 8_192).bfloat16()
    off = {
        level: float((there_and_back(values, level).float() - values.float()).norm())
        / float(values.float().norm())
        for level in PACKED
    }

    assert off[Level.INT8] < 0.008
    assert 10 * off[Level.INT8] < off[Level.INT4] < 0.12
