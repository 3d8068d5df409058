"""The result file of one measurement: what was measured, how, and under which conditions."""

import json

import msgspec

from alise_bench.load.distribution import Summary

VERSION = 2
"""1: the gateway had no predictor yet. 2: ``alise`` and ``alise-keys`` run with theirs off."""


class Conditions(msgspec.Struct, frozen=True):
    """What the figures hold for.

    Attributes:
        proxy_cpu: The CPU that the measured proxy is pinned to; ``None`` on one CPU.
        load_cpu: The CPU of load generator and mock backends.
        load_average_before: One-minute load average of the machine before the run.
    """

    started: str
    cpu_model: str
    cpus: int
    kernel: str
    python: str
    libraries: dict[str, str]
    proxy_cpu: int | None
    load_cpu: int
    load_average_before: float
    load_average_after: float
    repeats: int
    seed: int
    quick: bool


class TargetInfo(msgspec.Struct, frozen=True):
    """One measured server.

    Attributes:
        command: As started, with ports and folders of the last round.
        note: Settings that matter for reading the figures.
        missing: Why it was not measured; empty when it was.
    """

    name: str
    version: str
    command: list[str]
    note: str
    missing: str = ""


class Row(msgspec.Struct, frozen=True):
    """One scenario against one target in one round.

    Attributes:
        requests: Issued.
        completed: With the right reply.
        errors: Every other request, by kind.
        cpu_seconds: Of the proxy's process tree; 0 for ``direct``.
        wait_seconds: The tree was runnable and waited for its CPU.
        load_cpu_seconds: Of load generator and mock backends together.
        ttfb_ms: To the first byte of the body, of completed requests.
        total_ms: To the end of the reply, of completed requests.
        events: Server-sent events received by completed requests.
        lateness_ms: Open loops: the worst send behind its plan.
        rss_before: Bytes, before the scenario.
        rss_peak: Bytes, highest sample during it.
        beside_ttfb_ms: New requests that arrive while the streams of the scenario run.
    """

    round: int
    target: str
    scenario: str
    requests: int
    completed: int
    errors: dict[str, int]
    wall_seconds: float
    cpu_seconds: float
    wait_seconds: float
    load_cpu_seconds: float
    ttfb_ms: Summary | None
    total_ms: Summary | None
    events: int
    lateness_ms: float
    rss_before: int
    rss_peak: int
    load_average: float
    beside_ttfb_ms: Summary | None = None


class Memory(msgspec.Struct, frozen=True):
    """Memory of one target in one round, bytes.

    Attributes:
        idle: After the first right reply.
        peak: The highest over all scenarios of the round.
    """

    round: int
    target: str
    idle: int
    peak: int


class Results(msgspec.Struct, frozen=True):
    """Everything of one measurement.

    Attributes:
        failures: Targets that broke: what happened, in words.
    """

    conditions: Conditions
    targets: list[TargetInfo]
    rows: list[Row]
    memory: list[Memory]
    failures: list[str]
    version: int = VERSION


def encode(results: msgspec.Struct) -> bytes:
    """JSON for people and programs: one line a row, figures with six digits."""
    fields = []
    for name, value in msgspec.to_builtins(results).items():
        text = json.dumps(_rounded(value))
        if isinstance(value, list) and value:
            items = ",\n  ".join(json.dumps(_rounded(item)) for item in value)
            text = f"[\n  {items}\n ]"
        fields.append(f"{json.dumps(name)}: {text}")
    return ("{\n " + ",\n ".join(fields) + "\n}\n").encode()


def decode(data: bytes) -> Results:
    """Read a result file.

    Raises:
        ValueError: It is not one.
    """
    try:
        return msgspec.json.decode(data, type=Results)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a result file of 'alise bench overhead': {error}") from error


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
