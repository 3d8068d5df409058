"""What predictions cost on this machine: time per call, calls per second, memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from alise_core.clock import Clock
from alise_predictor.artifact import TOKENIZER, Bundle
from alise_predictor.evaluation.memory import resident_bytes
from alise_predictor.evaluation.text import table
from alise_predictor.request import from_prompt
from alise_predictor.serving import (
    LatencyRow,
    LengthPredictor,
    measure_latency,
    measure_refinement,
)
from alise_predictor.serving.latency import sample_prompt

TIER0_BYTES = (5, 1_024, 65_536)
TIER1_PIECES = (32, 128)
_TIER1_SHARE = 20
"""Tier 1 takes about a hundred times as long as tier 0: one call for so many of the other's."""
_LONGEST = 8_192
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Cost:
    """What a bundle costs here.

    Attributes:
        tier0: One row per size of ``TIER0_BYTES``.
        tier1: One row per size of ``TIER1_PIECES``; refining alone.
        tier0_bytes: Memory added by numpy, ONNX Runtime and tier 0; ``None`` if unknown.
        tier1_bytes: Memory added by tier 1 on top; ``None`` if unknown or there is none.
    """

    tier0: tuple[LatencyRow, ...]
    tier1: tuple[LatencyRow, ...]
    tier0_bytes: int | None
    tier1_bytes: int | None


def measure(bundle: Bundle, calls: int, clock: Clock, resident_before: int | None) -> Cost:
    """Time both tiers and weigh them.

    Args:
        bundle: Verified.
        calls: Per row of tier 0; tier 1 gets a twentieth.
        clock: Read before and after every call.
        resident_before: This process's memory before anything of the predictor was imported.
    """
    first = LengthPredictor.open(bundle, tier1=False)
    first.predict(from_prompt("Hello", ""))
    with_tier0 = resident_bytes()
    tier0 = measure_latency(first, TIER0_BYTES, calls, clock)
    tier0_bytes = _difference(with_tier0, resident_before)
    if bundle.manifest.tier1 is None:
        return Cost(tuple(tier0), (), tier0_bytes, None)
    before = resident_bytes()
    second = LengthPredictor.open(bundle, tier1=True)
    sizes = _sizes(bundle.read(TOKENIZER), TIER1_PIECES)
    rows = measure_refinement(second, sizes, max(1, calls // _TIER1_SHARE), clock)
    tier1_bytes = _difference(resident_bytes(), before)
    return Cost(tuple(tier0), tuple(rows), tier0_bytes, tier1_bytes)


def render(cost: Cost) -> str:
    """The cost as a table."""
    rows = [["", "prompt", "p50 us", "p99 us", "per second"]]
    rows += [["tier 0", f"{row.prompt_bytes:,} B", *_times(row)] for row in cost.tier0]
    rows += [
        ["tier 1", f"{pieces} pieces", *_times(row)]
        for pieces, row in zip(TIER1_PIECES, cost.tier1, strict=False)
    ]
    lines = [table(rows), ""]
    lines.append(f"memory added by numpy, ONNX Runtime and tier 0: {_megabytes(cost.tier0_bytes)}")
    if cost.tier1:
        lines.append(f"memory added by tier 1 on top: {_megabytes(cost.tier1_bytes)}")
    return "\n".join(lines)


def as_json(cost: Cost) -> dict[str, object]:
    """The cost for programs."""

    def plain(label: str, size: int, row: LatencyRow) -> dict[str, object]:
        return {
            label: size,
            "calls": row.calls,
            "p50_us": round(row.p50_seconds * 1e6, 1),
            "p99_us": round(row.p99_seconds * 1e6, 1),
            "per_second": round(row.calls_per_second, 1),
        }

    return {
        "tier0": [plain("bytes", row.prompt_bytes, row) for row in cost.tier0],
        "tier1": [
            plain("pieces", pieces, row)
            for pieces, row in zip(TIER1_PIECES, cost.tier1, strict=False)
        ],
        "memory_added_bytes": {"tier0": cost.tier0_bytes, "tier1": cost.tier1_bytes},
    }


def _sizes(tokenizer: bytes, pieces: Sequence[int]) -> list[int]:
    """Bytes of the made-up prompt that has so many word pieces."""
    # Imported here because a bundle of tier 0 alone needs no tokenizer.
    from alise_predictor.serving.pieces import PieceReader  # noqa: PLC0415

    reader = PieceReader(tokenizer, _LONGEST, 0)
    text = sample_prompt(_LONGEST, 0).encode()
    sizes = []
    for wanted in pieces:
        low, high = 1, len(text)
        while low < high:
            middle = (low + high) // 2
            if len(reader.ids(text[:middle])) - 2 < wanted:
                low = middle + 1
            else:
                high = middle
        sizes.append(low)
    return sizes


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else max(0, after - before)


def _times(row: LatencyRow) -> list[str]:
    return [
        f"{row.p50_seconds * 1e6:,.0f}",
        f"{row.p99_seconds * 1e6:,.0f}",
        f"{row.calls_per_second:,.0f}",
    ]


def _megabytes(amount: int | None) -> str:
    return "unknown" if amount is None else f"{amount / _MEGABYTE:,.1f} MB"
