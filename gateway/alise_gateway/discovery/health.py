"""What a probe's result means for a backend's state: pure.

::

    passed    -> HEALTHY at once: it has just answered
    draining  -> DRAINING at once: it asks for no new requests
    failed    -> as before, until ``unhealthy_after`` failures in a row; then UNHEALTHY
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from alise_gateway.domain.backend import ProbeState


class ProbeResult(StrEnum):
    """How one probe ended."""

    PASSED = "passed"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Health:
    """The state of one backend, and how many probes in a row have failed."""

    state: ProbeState = ProbeState.UNKNOWN
    failures: int = 0

    @property
    def is_recovering(self) -> bool:
        """The next answer may come from a restarted process: what was learnt may be outdated."""
        return self.failures > 0 or self.state in {ProbeState.UNKNOWN, ProbeState.UNHEALTHY}


def after_probe(health: Health, result: ProbeResult, unhealthy_after: int) -> Health:
    """The state that follows from one more probe.

    Args:
        health: Before it.
        result: How it ended.
        unhealthy_after: Failures in a row that make a backend unhealthy; at least 1.
    """
    match result:
        case ProbeResult.PASSED:
            return Health(ProbeState.HEALTHY)
        case ProbeResult.DRAINING:
            return Health(ProbeState.DRAINING)
        case ProbeResult.FAILED:
            failures = health.failures + 1
            is_down = failures >= unhealthy_after
            return Health(ProbeState.UNHEALTHY if is_down else health.state, failures)
    assert_never(result)
