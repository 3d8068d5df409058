"""Publish what the last run of ``make e2e`` has measured.

Usage: ``python tools/cluster_figures.py`` after ``make e2e`` takes ``build/e2e-figures.json`` into
``docs/results/kubernetes.json`` and writes ``kubernetes.md`` beside it. What the run has not
measured, because it was of some scenarios only, stays as it was. ``--render`` only writes the
document of the JSON that is there. A figure's unit is the end of its name.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alise_bench.overhead.report import table

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "build/e2e-figures.json"
PUBLISHED = ROOT / "docs/results/kubernetes.json"
CONDITIONS = "conditions"
SCALE = "scale_"
UNITS = {"seconds": "s", "ms": "ms", "mib": "MiB", "ratio": "", "": ""}
"""End of a name -> how its unit is written; shares have none."""
METHOD = """\
A control plane of the run's own (etcd, API server, controllers, scheduler) and a node that runs
pods as processes ([0013](../design/0013-cluster-tests.md)) share the machine with everything that
is measured, so that latencies are more this machine's than the product's. Latencies are taken by
a client: from the API server's answer to the write that makes the difference, to the first look
that shows it.

*Idle* is one installation that follows two engines. *Scale* is another that follows 1,000 pods in
100 pools; one simulated engine answers at the addresses of all of them, and is asked for each
every 20 s for health and every 20 s for figures. There a look is at all 1,000 endpoints, so that
nothing quicker than *look at all endpoints* could be seen. *Replicas* are three gateways in front
of two engines of 32 requests each, asked by 96, 18 and 6 clients: what engines said they had at
most, as part of what is allowed, and for how long one was idle, or had more than 15 % to spare,
while a request waited at some gateway."""


def main() -> int:
    """Write both files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--render", action="store_true", help="only the document, anew")
    if not parser.parse_args().render:
        if not MEASURED.exists():
            print(f"{MEASURED} is missing: make e2e writes it", file=sys.stderr)
            return 1
        before = json.loads(PUBLISHED.read_text(encoding="utf-8")) if PUBLISHED.exists() else {}
        measured = {**before, **json.loads(MEASURED.read_text(encoding="utf-8"))}
        PUBLISHED.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    figures = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    PUBLISHED.with_suffix(".md").write_text(render(figures), encoding="utf-8")
    return 0


def render(figures: Mapping[str, Any]) -> str:
    """Markdown of the whole document."""
    conditions = figures[CONDITIONS]
    found = {name: value for name, value in figures.items() if name != CONDITIONS}
    groups = {
        "Scale: 1,000 pods, 100 pools": {
            name.removeprefix(SCALE): value
            for name, value in found.items()
            if name.startswith(SCALE)
        },
        "Everything else": {
            name: value for name, value in found.items() if not name.startswith(SCALE)
        },
    }
    parts = [
        "# On a real Kubernetes API server",
        f"Measured by `make e2e` on {str(conditions['started'])[:10]}, written by "
        "`python tools/cluster_figures.py`. A run of some scenarios replaces their figures only.",
    ]
    for title, group in groups.items():
        parts += [f"## {title}", *_tables(group)]
    facts = [[_words(name)[0], str(value)] for name, value in conditions.items()]
    parts += ["## Method", METHOD]
    parts += ["## Conditions", table(["", "value"], facts).replace("--:", "---")]
    return "\n\n".join(parts) + "\n"


def _tables(group: Mapping[str, Any]) -> list[str]:
    """One table for each shape that figures have: single ones, and those of the same parts."""
    shapes: dict[tuple[str, ...], list[list[str]]] = {}
    for name, value in group.items():
        parts = value if isinstance(value, Mapping) else {name: value}
        shape = tuple(parts) if isinstance(value, Mapping) else ()
        words, unit = _words(name)
        row = [words, *(f"{part:,g}" for part in parts.values())]
        shapes.setdefault(shape, []).append(row if shape else [*row, unit])
    return [
        table(["", *(", ".join(filter(None, _words(part))) for part in shape)], rows)
        if shape
        else table(["", "measured", "unit"], rows)
        for shape, rows in shapes.items()
    ]


def _words(name: str) -> tuple[str, str]:
    """A figure's name for people, and its unit."""
    stem, _, unit = name.rpartition("_")
    if unit in UNITS and stem:
        return stem.replace("_", " "), UNITS[unit]
    return name.replace("_", " "), ""


if __name__ == "__main__":
    sys.exit(main())
