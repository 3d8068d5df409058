"""A pod's readiness, written as its node would, and how long until that has an effect."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from running.cluster.api import Api
from running.cluster.figures import Figures

LOST_SECONDS = 10.0
"""What is not followed by then is lost."""


@dataclass
class Followed:
    """Seconds from the API server's answer until the change had its effect."""

    not_ready: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)

    def add_to(self, figures: Figures, prefix: str = "") -> None:
        figures.add_latencies(f"{prefix}pod_not_ready_to_no_new_work", self.not_ready)
        figures.add_latencies(f"{prefix}pod_ready_to_in_use", self.ready)


def set_ready(api: Api, path: str, *, ready: bool) -> None:
    """Write a pod's Ready condition; whoever owns its status has to leave it alone."""
    conditions = api.read(path)["status"]["conditions"]
    said = {"status": str(ready)}
    changed = [{**each, **said} if each["type"] == "Ready" else each for each in conditions]
    api.patch(f"{path}/status", {"status": {"conditions": changed}})


def follow(
    api: Api, path: str, flips: int, is_used: Callable[[], bool], poll_seconds: float
) -> Followed:
    """Let a pod lose and regain its readiness so many times, and wait for each to be followed."""
    followed = Followed()
    for took, ready in ((followed.not_ready, False), (followed.ready, True)) * flips:
        set_ready(api, path, ready=ready)
        written = time.monotonic()
        while is_used() != ready:
            assert time.monotonic() < written + LOST_SECONDS
            time.sleep(poll_seconds)
        took.append(time.monotonic() - written)
    return followed
