"""Prometheus expositions as numbers."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Samples:
    """One exposition."""

    rows: tuple[tuple[str, dict[str, str], float], ...]

    def sum(self, name: str, **labels: str) -> float:
        """Sum over all series of ``name`` that carry these labels; 0 when there are none."""
        return sum(
            value
            for sample, own, value in self.rows
            if sample == name and labels.items() <= own.items()
        )


def scrape(url: str) -> Samples:
    text = httpx.get(url, timeout=10).raise_for_status().text
    families = text_string_to_metric_families(text)
    return Samples(
        tuple((row.name, row.labels, row.value) for family in families for row in family.samples)
    )


def eventually(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something that another process does becomes true."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
