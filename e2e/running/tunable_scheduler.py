"""A scheduler of vLLM's with one thing that can be changed while it runs, for tests.

It shows besides what the last request told the engine.

Goes into vLLM's process (``--scheduler-cls tunable_scheduler.TunableScheduler``): imports nothing
of the tests.
"""

from collections.abc import Callable, Mapping
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler

from alise_core.errors import ConfigError

KEY = "max_active_requests"


class TunableScheduler(AsyncScheduler):  # type: ignore[misc]
    """How many requests run at once can be changed."""

    told: Mapping[str, object] = {}

    def add_request(self, request: Any) -> None:
        self.told = dict(request.sampling_params.extra_args or {})
        super().add_request(request)

    @property
    def alise_tunable(self) -> "TunableScheduler":
        return self

    @property
    def name(self) -> str:
        return "demo"

    def state(self) -> Mapping[str, object]:
        return {KEY: self.max_num_active_reqs, "told": self.told}

    def plan(self, changes: Mapping[str, object]) -> Callable[[], Mapping[str, object]]:
        for key, value in changes.items():
            if key != KEY:
                raise ConfigError(f"{key!r} is unknown; there is {KEY!r}")
            if type(value) is not int or not 1 <= value <= self.max_num_running_reqs:
                most = self.max_num_running_reqs
                raise ConfigError(f"{key!r} is {value!r}; it must be from 1 to {most}")

        def apply() -> Mapping[str, object]:
            before = self.state()[KEY]
            self.max_num_active_reqs = changes.get(KEY, before)
            return {KEY: [before, changes[KEY]]} if changes else {}

        return apply
