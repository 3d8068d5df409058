"""The document of a comparison: goals, loads, searches, conditions. Pure.

Results in, Markdown out. The same results always give the same text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from alise_bench.compare.goals import SUBJECT, ratios
from alise_bench.compare.results import FRONT, OVERLOAD, Results, RowResult, Search
from alise_bench.compare.tables import part, plain, shown, tables
from alise_bench.load.distribution import spread
from alise_bench.overhead.goals import Verdict
from alise_bench.overhead.report import table
from alise_bench.overhead.tables import number

_PICTURES = {
    "load": "Latency over load, row by row",
    "front": "What the parameters trade",
    "rates": "Mean normalized latency over the offered rate",
}


def render(results: Results, pictures: Sequence[str]) -> str:
    """Markdown of the whole document.

    Args:
        results: What was found.
        pictures: File names beside the document, ``NAME-KIND.svg``.
    """
    shots = {name.rsplit("-", 1)[1].removesuffix(".svg"): name for name in pictures}
    parts = [
        "# Scheduling compared",
        _introduction(results),
        *_goals(results),
        _picture(shots, "load"),
        *_searches(results.searches, shots),
        *_overload([row for row in results.rows if row.cell == OVERLOAD]),
        *_front([row for row in results.rows if row.cell == FRONT], shots),
        *_by_default([row for row in results.rows if row.cell not in {FRONT, OVERLOAD}]),
        *_loads([row for row in results.rows if row.cell != FRONT]),
        "## Conditions",
        *_conditions(results.conditions),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(results: Results) -> str:
    conditions = results.conditions
    look = " **A first look (`--quick`), not a result.**" if conditions.get("quick") else ""
    return (
        f"Measured by `alise bench compare` on {str(conditions['started'])[:10]}: the same "
        "requests, served by plain load balancing and by the gateway with different orderings and "
        f"different knowledge of lengths.{look} Times in seconds; medians [lowest - highest seed]."
    )


def _goals(results: Results) -> list[str]:
    if not results.goals:
        return []
    passed = sum(goal.verdict is Verdict.PASS for goal in results.goals)
    rows = [
        [goal.text, goal.bound, shown(goal.measured), goal.verdict.value, goal.reason]
        for goal in results.goals
    ]
    return [
        "## Goals",
        f"{passed} of {len(results.goals)} pass, judged by the median over seeds; figures of "
        "`default`, the policy that ships, where no other row is named.",
        table(["goal", "bound", "measured", "verdict", "where missed"], rows),
    ]


def _searches(searches: Sequence[Search], shots: Mapping[str, str]) -> list[str]:
    if not searches:
        return []
    first = searches[0]
    times = dict.fromkeys(f"{item.workload} for {item.duration_s:g} s" for item in searches)
    rows = []
    for workload, row in dict.fromkeys((item.workload, item.row) for item in searches):
        mine = [item for item in searches if (item.workload, item.row) == (workload, row)]
        rows.append(
            [
                f"{workload}: {row}",
                shown(spread(item.rate_at_normalized for item in mine)),
                shown(spread(item.rate_at_ttft for item in mine)),
            ]
        )
    text = (
        f"Requests arrive for a fixed time ({', '.join(times)}; Poisson, one pod) and all are "
        "answered. Highest rate, in requests/s, at which the mean normalized latency is at most "
        f"{first.normalized_bound_s_per_token:g} s/token, and at which the p99 TTFT is at most "
        f"{first.ttft_p99_bound_s:g} s; on a grid of 2 %. A quarter of the prompts is not sent: "
        "`learned` is `default` with a predictor that has learned from the answers to those."
    )
    head = ["", "at equal normalized latency", "at equal p99 TTFT"]
    return ["## Throughput at equal latency", text, table(head, rows), _picture(shots, "rates")]


def _overload(rows: Sequence[RowResult]) -> list[str]:
    if not rows:
        return []
    text = (
        f"By the gateway's `fcfs`, at rho {rows[0].rho:.3g}, while {rows[0].requests:,} requests "
        "arrive: what an ordering does to the last ones when more comes than can be done for a "
        "long time. Prompts repeat, which makes them easier to predict than in the other cells."
    )
    return ["## Ten minutes of overload", text, _by_fcfs(rows)]


def _front(rows: Sequence[RowResult], shots: Mapping[str, str]) -> list[str]:
    if not rows:
        return []
    text = f"By the gateway's `fcfs`, at rho {rows[0].rho:.3g}; each is `default` with one change."
    return ["## What the parameters trade", text, _by_fcfs(rows), _picture(shots, "front")]


def _by_fcfs(rows: Sequence[RowResult]) -> str:
    picks = {
        "short half TTFT p95": part("ttft_s", "p95", "short_half"),
        "TTLT mean": part("ttlt_s", "mean"),
        "TTLT p99": part("ttlt_s", "p99"),
        "longest decile TTLT p99": part("ttlt_s", "p99", "longest_decile"),
        "longest wait": plain("max_wait_s"),
    }
    lines = [
        [name, *(shown(spread(ratios(rows, name, "fcfs", pick))) for pick in picks.values())]
        for name in dict.fromkeys(row.name for row in rows)
    ]
    return table(["", *picks], lines)


def _by_default(rows: Sequence[RowResult]) -> list[str]:
    """What ships by everything else, load by load; nothing where it was not run."""
    picks = {
        "short half TTFT p95": part("ttft_s", "p95", "short_half"),
        "TTLT mean": part("ttlt_s", "mean"),
        "longest decile TTLT p99": part("ttlt_s", "p99", "longest_decile"),
        "tokens/s": plain("tokens_per_s"),
    }
    lines = []
    for cell, rho in dict.fromkeys((row.cell, row.rho) for row in rows):
        here = [row for row in rows if (row.cell, row.rho) == (cell, rho)]
        found = {
            name: [ratios(here, SUBJECT, name, pick) for pick in picks.values()]
            for name in dict.fromkeys(row.name for row in here)
            if name != SUBJECT
        }
        lines += [
            [
                *([cell] if cell else []),
                "its own times" if rho is None else f"{rho:.3g}",
                name,
                *(shown(spread(values)) for values in each),
            ]
            for name, each in found.items()
            if any(each)
        ]
    if not lines:
        return []
    head = [*(["cell"] if rows[0].cell else []), "rho", "`default` by", *picks]
    return ["## What ships, by the other rows", "Within a seed each.", table(head, lines)]


def _loads(rows: Sequence[RowResult]) -> list[str]:
    parts = ["## Rows"]
    for item in tables(rows):
        parts += [f"### {item.title}", table(item.columns, item.rows)]
    return parts


def _picture(shots: Mapping[str, str], kind: str) -> str:
    return f"![{_PICTURES[kind]}]({shots[kind]})" if kind in shots else ""


def _conditions(conditions: Mapping[str, Any]) -> list[str]:
    notes = (
        *conditions["warnings"],
        *conditions["notes"],
        *conditions.get("engine_notes", ()),
    )
    lines = [f"- {note}" for note in notes]
    rows = [
        [name, _text(value)]
        for name, value in conditions.items()
        if name not in {"warnings", "notes", "engine_notes", "cells"}
        and not isinstance(value, dict)
    ]
    parts = ["\n".join(lines), table(["", "value"], rows).replace("--:", "---")]
    cells: Mapping[str, Mapping[str, Any]] = conditions.get("cells", {"": conditions})
    parts.append(table(["cell", "capacity, requests/s", "workload", "arrivals"], _cells(cells)))
    parts.append("Every figure, source and licence: the JSON file beside this document.")
    return parts


def _cells(cells: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    rows = []
    for name, facts in cells.items():
        capacity = facts.get("capacity_per_second")
        values = capacity.values() if isinstance(capacity, dict) else [capacity]
        rates = spread(float(value) for value in values if value is not None)
        workload, arrivals = facts.get("workload", {}), facts.get("arrivals", {})
        pods = f"{facts['pods']} pods, {facts.get('profile') or facts.get('engine')}"
        rows.append(
            [
                name or "this run",
                f"{shown(rates)} ({pods})",
                _workload_text(workload),
                str(arrivals.get("process", "-")),
            ]
        )
    return rows


def _workload_text(workload: Mapping[str, Any]) -> str:
    if not workload:
        return "-"
    tokens = workload["output_tokens"]
    return (
        f"{workload['workload']}: {workload['prompts']} prompts, output tokens mean "
        f"{number(tokens['mean'])}, p99 {number(tokens['p99'])}, CV {tokens['cv']}; "
        f"{workload['trained_share']:.0%} of data sets that were trained on, "
        f"{workload['seen_share']:.0%} seen"
    )


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
