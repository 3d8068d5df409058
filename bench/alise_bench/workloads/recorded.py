"""Arrivals by name, and the records that some of them come from.

Records lie in the data directory: Azure's log of code completions of 2023, Mooncake's synthetic
trace, and ServeGen's per-client rates of a production service.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path, PurePosixPath

from alise_bench.workloads import arrivals
from alise_bench.workloads.arrivals import Arrival, Client, ClientWindow, Family
from alise_bench.workloads.data_files import read_file
from alise_core.errors import ConfigError

SERVEGEN_POOL = "m-small"
"""The one of ServeGen's published pools of language clients that is complete and small."""

_MICROSECONDS_CHARS = 26
"""Azure's times have seven decimals; Python's reader of times takes six."""
_WINDOW_FIELDS = 6


class ArrivalKind(StrEnum):
    """Which arrivals there are."""

    POISSON = "poisson"
    GAMMA = "gamma"
    ON_OFF = "on-off"
    BURSTGPT = "burstgpt"
    AZURE_CODE = "azure-code"
    MOONCAKE = "mooncake"
    SERVEGEN = "servegen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How many arrivals are wanted, and how fast.

    Attributes:
        count: At least 1.
        rate: Mean arrivals a second, more than 0.
        seed: Of everything that is drawn.
        cv: Coefficient of variation of the gaps; only ``gamma`` looks at it.
    """

    count: int
    rate: float
    seed: int
    cv: float = 2.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Arrivals and what they are.

    Attributes:
        marks: Ascending, the first at 0.
        facts: For the conditions of a result: kind, process, source, licence.
    """

    marks: tuple[Arrival, ...]
    facts: Mapping[str, object] = field(default_factory=dict)


def make_arrivals(kind: ArrivalKind, wish: Wish, data_dir: Path | None = None) -> Arrivals:
    """The arrivals of a name.

    Args:
        kind: Which.
        wish: How many and how fast.
        data_dir: Needed by the recorded kinds only.

    Raises:
        ConfigError: A record is missing or is not as documented.
    """
    marks, process = _draw(kind, wish, data_dir)
    facts: dict[str, object] = {
        "kind": str(kind),
        "process": process,
        "count": len(marks),
        "rate_per_second": wish.rate,
        "seed": wish.seed,
        "gap_cv": round(gap_cv(marks), 3),
        "tenants": len({mark.tenant for mark in marks if mark.tenant is not None}),
    }
    return Arrivals(tuple(marks), facts)


def gap_cv(marks: Sequence[Arrival]) -> float:
    """Coefficient of variation of the gaps; 0 for fewer than two of them."""
    gaps = [late.offset_s - early.offset_s for early, late in pairwise(marks)]
    mean = sum(gaps) / len(gaps) if gaps else 0.0
    if mean <= 0:
        return 0.0
    return float((sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean)


def read_azure_code(data_dir: Path | None) -> list[Arrival]:
    """Code completions on Azure, 2023-11-16, 8,819 requests in 57 minutes.

    Raises:
        ConfigError: The file is missing or is not as documented.
    """
    path, raw = read_file(data_dir, "azure_llm_2023", "AzureLLMInferenceTrace_code.csv")
    marks = []
    for number, line in enumerate(_lines(path, raw)[1:], start=2):
        stamp = line.split(",", 1)[0][:_MICROSECONDS_CHARS]
        try:
            moment = datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
        except ValueError as error:
            raise ConfigError(
                f"{path}, line {number}: TIMESTAMP is {stamp[:40]!r}, not a date and time; "
                "fetch the file again"
            ) from error
        marks.append(Arrival(moment))
    return sorted(marks, key=lambda mark: mark.offset_s)


def read_mooncake(data_dir: Path | None) -> list[Arrival]:
    """Mooncake's synthetic trace: 3,993 requests; those with the same first block are a group.

    Raises:
        ConfigError: The file is missing or is not as documented.
    """
    path, raw = read_file(data_dir, "mooncake_fast25", "synthetic_trace.jsonl")
    marks = []
    for number, line in enumerate(_lines(path, raw), start=1):
        try:
            row = json.loads(line)
            blocks = row["hash_ids"]
            group = str(blocks[0]) if blocks else None
            marks.append(Arrival(row["timestamp"] / 1_000, prefix_group=group))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}, line {number}: has no timestamp in milliseconds or no hash_ids; "
                "fetch the file again"
            ) from error
    return sorted(marks, key=lambda mark: mark.offset_s)


def read_servegen(data_dir: Path | None, pool: str = SERVEGEN_POOL) -> list[Client]:
    """The clients of one of ServeGen's pools, by the 10-minute windows of 14 days.

    Raises:
        ConfigError: The archive is missing or is not as documented.
    """
    path, raw = read_file(data_dir, "servegen", f"language_{pool}.tar")
    clients = []
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                file = archive.extractfile(member) if name.endswith("-trace.csv") else None
                if file is not None:
                    place = Path(f"{path}:{name}")
                    windows = dict(_windows(place, file.read()))
                    clients.append(Client(name.removesuffix("-trace.csv"), windows))
    except tarfile.TarError as error:
        raise ConfigError(f"{path}: damaged ({error}); fetch the file again") from error
    return sorted(clients, key=lambda client: client.name)


def _windows(path: Path, raw: bytes) -> Iterator[tuple[float, ClientWindow]]:
    # A line: start, requests a second, CV, distribution of the gaps, its shape and scale.
    for number, line in enumerate(_lines(path, raw), start=1):
        parts = line.split(",")
        try:
            if len(parts) != _WINDOW_FIELDS:
                raise ValueError(f"{len(parts)} fields")
            rate, shape = float(parts[1]), float(parts[4])
            if rate > 0 and shape > 0:
                yield float(parts[0]), ClientWindow(rate, Family(parts[3]), shape)
        except ValueError as error:
            raise ConfigError(
                f"{path}, line {number}: not 'start,rate,cv,distribution,shape,scale' ({error}); "
                "fetch the file again"
            ) from error


def _draw(kind: ArrivalKind, wish: Wish, data_dir: Path | None) -> tuple[list[Arrival], str]:
    count, rate, seed = wish.count, wish.rate, wish.seed
    if kind is ArrivalKind.POISSON:
        return arrivals.poisson(count, rate, seed), "Poisson"
    if kind is ArrivalKind.GAMMA:
        return arrivals.gamma(count, rate, wish.cv, seed), f"Gamma-distributed gaps, CV {wish.cv:g}"
    if kind is ArrivalKind.BURSTGPT:
        return (
            arrivals.burstgpt(count, rate, seed),
            f"Gamma-distributed gaps of shape {arrivals.BURSTGPT_SHAPE:g} (BurstGPT's model)",
        )
    if kind is ArrivalKind.ON_OFF:
        shape = arrivals.OnOff()
        return (
            arrivals.on_off(count, rate, seed, shape),
            f"on-off: {shape.burst_ratio:g} times the rate in {shape.burst_share:.0%} of the time, "
            f"a burst every {shape.cycle_seconds:g} s on average",
        )
    return _draw_recorded(kind, wish, data_dir)


def _draw_recorded(
    kind: ArrivalKind, wish: Wish, data_dir: Path | None
) -> tuple[list[Arrival], str]:
    count, rate, seed = wish.count, wish.rate, wish.seed
    if kind is ArrivalKind.AZURE_CODE:
        return (
            arrivals.replay(read_azure_code(data_dir), count, rate, seed),
            "recorded: Azure LLM inference trace 2023, code (CC BY 4.0), rescaled in time",
        )
    if kind is ArrivalKind.MOONCAKE:
        return (
            arrivals.replay(read_mooncake(data_dir), count, rate, seed),
            "recorded: Mooncake FAST'25 synthetic trace (Apache-2.0), rescaled in time",
        )
    return (
        arrivals.merge_clients(read_servegen(data_dir), count, rate, seed),
        f"per-client rates and gap distributions of ServeGen {SERVEGEN_POOL} (Apache-2.0), "
        "all slowed down or sped up by one factor",
    )


def _lines(path: Path, raw: bytes) -> list[str]:
    try:
        return [line for line in raw.decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8; fetch the file again") from error
