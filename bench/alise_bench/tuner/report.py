"""The document of a tuner run, and its table for a terminal. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from alise_bench.overhead.tables import number
from alise_bench.tuner.figures import Figures
from alise_bench.tuner.rows import BASELINE, ORACLE, ROWS, TUNER

MOST_PREEMPTIONS, MOST_TTFT, MOST_CHANGES = 0.2, 0.7, 6
"""Goals: preemptions and p99 TTFT by the baseline's, changes in an hour."""

COLUMNS = (
    "preemptions",
    "p99 TTFT, s",
    "p50 TTLT, s",
    "p99 TTLT, s",
    "pressure: episodes",
    "minutes",
    "changes",
    "most in an hour",
    "came back",
    "begun anew",
    "exact KV",
)

ASSUMPTIONS = (
    "pods: Mistral Small 24B (bf16) on one H100 80 GB each, step times by the linear model of "
    "docs/simulator.md, which was never measured on a GPU; fp8 halves what a KV position takes and "
    "what reading it costs, and is otherwise free (`--fp8-slowdown` says otherwise)",
    "requests go at once to the pod with the fewest: the gateway, which holds back what will not "
    "fit, is left out, so that all pressure meets the engines",
    "a preempted request computes everything anew unless the host tier has it: no prefix cache. "
    "Real vLLM finds part of it again in its prefix cache (87 % in one small test), so preemptions "
    "cost more here than there; prefixes that requests share are not simulated, so a tier is worth "
    "less",
    "the tier: written through, 25 GB/s back; `ewt` is taken to spare everybody who lives, `lru` "
    "to find a request again while no more than the tier holds was written since it began",
    "a restart: nothing new for the pod, up to 600 s for what it runs (the rest begins anew "
    "elsewhere), 120 s until its successor serves; one pod at a time, no spare accelerator",
    "answers have no quality here: the canary passes once it was watched for its time",
    "predictions: true lengths times a log-normal error (sigma 0.6), p90 2.2 times the median; of "
    "them the gateway's own arithmetic makes the peak of KV tokens if nobody else comes, from when "
    "a request was sent and how fast the pool was of late; the oracle is the tuner, told "
    "the largest need of the next three hours",
)


def goals(rows: Sequence[Figures]) -> list[tuple[float | None, str, float, float, bool]]:
    """Load, goal, its bound, what was reached, and whether that is enough."""
    found = []
    for load in dict.fromkeys(row.load for row in rows):
        here = {row.row: row for row in rows if row.load == load}
        if TUNER not in here or BASELINE not in here:
            continue
        tuner, base = here[TUNER], here[BASELINE]
        preempted = tuner.preemptions / base.preemptions if base.preemptions else 0.0
        waited = tuner.ttft_p99_s / base.ttft_p99_s
        hour, back = tuner.most_changes_per_hour, tuner.oscillations
        found += [
            (load, "preemptions by static auto", MOST_PREEMPTIONS, preempted, True),
            (load, "p99 TTFT by static auto", MOST_TTFT, waited, True),
            (load, "changes in any hour", MOST_CHANGES, hour, True),
            (load, "settings that came back in the window", 0, back, True),
        ]
    return [(load, name, most, got, got <= most) for load, name, most, got, _ in found]


def table(rows: Sequence[Figures]) -> list[list[str]]:
    """A line of text for each row, the name first."""
    return [
        [
            row.row,
            str(row.preemptions),
            number(row.ttft_p99_s),
            number(row.ttlt_p50_s),
            number(row.ttlt_p99_s),
            str(row.episodes),
            f"{row.pressure_minutes:.0f}",
            str(row.changes),
            str(row.most_changes_per_hour),
            str(row.oscillations),
            str(row.begun_anew),
            f"{row.exact_ratio:.0%}",
        ]
        for row in rows
    ]


def render(rows: Sequence[Figures], conditions: Mapping[str, Any], picture: str | None) -> str:
    """The document."""
    lines = [
        "# The KV tuner over a simulated day",
        "",
        f"Measured by `alise bench tuner` on {str(conditions['started'])[:10]}: the operator's own "
        "decision over simulated pods, against settings that never change. Everything here is a "
        "simulation; what it assumes stands below.",
        "",
    ]
    if picture is not None:
        lines += [f"![The day: need, rung and preemptions]({picture})", ""]
    lines += _goals(rows)
    for load in dict.fromkeys(row.load for row in rows):
        here = [row for row in rows if row.load == load]
        lines += _rows(load, here)
    lines += _losses(rows)
    lines += ["## Rows", ""]
    lines += [f"- {row.name}: {row.summary}" for row in ROWS]
    lines += ["", "## What is assumed", ""]
    lines += [f"- {line}" for line in ASSUMPTIONS]
    lines += ["", "## Conditions", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in conditions.items()]
    return "\n".join(lines) + "\n"


def _goals(rows: Sequence[Figures]) -> list[str]:
    found = goals(rows)
    if not found:
        return []
    lines = ["## Goals", "", "| load | | at most | reached | |", "| --: | --- | --: | --: | --- |"]
    for load, name, most, got, met in found:
        shown = "-" if load is None else f"{load:g}"
        lines.append(f"| {shown} | {name} | {most:g} | {got:.3g} | {'yes' if met else '**no**'} |")
    return [*lines, ""]


def _losses(rows: Sequence[Figures]) -> list[str]:
    """Where settings that never change are as good or better, and what they give up for it."""
    lines = ["## Where settings that never change are as good or better", ""]
    for load in dict.fromkeys(row.load for row in rows):
        here = {row.row: row for row in rows if row.load == load}
        tuner = here.get(TUNER)
        if tuner is None:
            continue
        lines += [
            f"- load {load:g}: {row.row}, p99 TTFT {number(row.ttft_p99_s)} s and "
            f"{row.preemptions} preemptions by {number(tuner.ttft_p99_s)} s and "
            f"{tuner.preemptions}; exact KV {row.exact_ratio:.0%} by {tuner.exact_ratio:.0%}"
            for row in here.values()
            if load is not None
            and row.row not in {TUNER, ORACLE}
            and (row.preemptions, row.ttft_p99_s) <= (tuner.preemptions, tuner.ttft_p99_s)
        ]
    lines += [
        "",
        "Where fp8 is good enough, start with it: nothing here beats a setting that is right from "
        "the beginning. A tuner that runs fp8 nearly all day is worth that it was not chosen by "
        "hand and was watched by a canary, and the exact KV of the remaining hours. It follows no "
        "trend in its first hour.",
        "",
    ]
    return lines


def _rows(load: float | None, rows: Sequence[Figures]) -> list[str]:
    title = "at its own times" if load is None else f"KV need {load:g} in the busiest window"
    head = " | ".join(COLUMNS)
    lines = [f"## {title[0].upper()}{title[1:]}, {rows[0].requests} requests", "", f"| | {head} |"]
    lines.append(f"| --- |{' --: |' * len(COLUMNS)}")
    lines += [f"| {' | '.join(line)} |" for line in table(rows)]
    lines.append("")
    for row in rows:
        if row.changes:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in row.rungs.items())
            lines.append(f"- {row.row}, time by the dearest setting off its base: {shares}")
    return [*lines, ""]
