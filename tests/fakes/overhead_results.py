"""Result files with chosen figures."""

from alise_bench.load.distribution import Summary
from alise_bench.overhead.results import Conditions, Memory, Results, Row, TargetInfo

MIB = 1 << 20


def summary(p50: float, p99: float) -> Summary:
    """A distribution of which only two percentiles matter."""
    return Summary(100, p50, p50, p50, p50, p99, p99, p99)


def row(  # noqa: PLR0913  one argument per figure that some test chooses
    target: str,
    scenario: str = "c64_1k",
    number: int = 1,
    *,
    cpu: float = 0.0,
    p50: float = 1.0,
    p99: float = 2.0,
    errors: int = 0,
    rss: int = 0,
) -> Row:
    """1,000 requests and 129,000 events in two seconds.

    Args:
        cpu: Microseconds per request.
        rss: Growth in KiB per request.
    """
    return Row(
        round=number,
        target=target,
        scenario=scenario,
        requests=1_000 + errors,
        completed=1_000,
        errors={"reset": errors} if errors else {},
        wall_seconds=2.0,
        cpu_seconds=cpu * 1e-3,
        wait_seconds=0.1,
        load_cpu_seconds=1.0,
        ttfb_ms=summary(p50, p99),
        total_ms=summary(p50, p99),
        events=129_000,
        lateness_ms=0.0,
        rss_before=50 * MIB,
        rss_peak=50 * MIB + rss * 1_024 * (1_000 + errors),
        load_average=0.1,
        beside_ttfb_ms=summary(p50, p99) if scenario == "s1000" else None,
    )


def results(*rows: Row, memory: int = 70, missing: str = "") -> Results:
    """A result file of these rows; ``memory`` is the gateway's peak in MiB."""
    names = list(dict.fromkeys(item.target for item in rows))
    targets = [TargetInfo(name, "1.0", ["run", name], "as it comes") for name in names]
    if missing:
        targets.append(TargetInfo(missing, "", [], "", "not installed"))
    conditions = Conditions(
        started="2026-01-02T03:04:05+00:00",
        cpu_model="Some CPU",
        cpus=2,
        kernel="6.1",
        python="3.11",
        libraries={"uvloop": "0.21"},
        proxy_cpu=1,
        load_cpu=0,
        load_average_before=0.1,
        load_average_after=1.5,
        repeats=3,
        seed=1,
        quick=False,
    )
    memories = [Memory(1, name, 40 * MIB, memory * MIB) for name in names if name != "direct"]
    return Results(conditions, targets, list(rows), memories, [])
