"""Figures that scenarios measure, shown as JSON at the end of the run."""

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alise_bench.overhead.conditions import read_conditions

FILE = Path(__file__).resolve().parents[3] / "build/e2e-figures.json"


class Figures:
    """Name -> figure of this run."""

    def __init__(self) -> None:
        machine = read_conditions(None, 0, repeats=1, seed=0, quick=False)
        self._conditions: dict[str, Any] = {
            "started": machine.started,
            "cpu_model": machine.cpu_model,
            "cores": machine.cpus,
            "python": machine.python,
        }
        self._found: dict[str, Any] = {}

    def add_condition(self, name: str, value: str) -> None:
        """Keep what all figures hold for."""
        self._conditions[name] = value

    def add(self, name: str, value: object) -> None:
        """Keep a figure; its unit is the end of its name."""
        self._found[name] = value

    def add_latencies(self, name: str, seconds: Sequence[float]) -> None:
        """Keep the middle and the tail of some times, in milliseconds."""
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        self.add(
            name,
            {
                "p50_ms": round(cuts[49] * 1_000, 1),
                "p99_ms": round(cuts[98] * 1_000, 1),
                "worst_ms": round(max(seconds) * 1_000, 1),
                "number": len(seconds),
            },
        )

    def write(self) -> str:
        """Write the file and return what it holds; nothing when nothing was measured."""
        if not self._found:
            return ""
        conditions = {**self._conditions, "load_average": round(os.getloadavg()[0], 1)}
        text = json.dumps({"conditions": conditions, **self._found}, indent=2)
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(text + "\n", encoding="utf-8")
        return text
