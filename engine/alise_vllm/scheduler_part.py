"""The scheduler's settings and figures, to look at and to change while it runs; pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from alise_core.errors import ConfigError
from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.settings import OrderingSettings, changed
from alise_vllm.ordering.work import Work
from alise_vllm.tunable import Json


class Engine(Protocol):
    """What is seen and changed of vLLM's scheduler.

    Attributes:
        max_num_running_reqs: Most requests that can run at once.
        max_num_active_reqs: Requests that may.
    """

    max_num_running_reqs: int
    max_num_active_reqs: int

    def alise_works(self) -> list[Work]:
        """All requests that exist."""
        ...


class SchedulerPart:
    """A ``Tunable``.

    Args:
        order: Whose settings and figures.
        engine: The scheduler that has it.

    Raises:
        ConfigError: A setting does not suit the engine.
    """

    name = "scheduler"

    def __init__(self, order: RequestOrder, engine: Engine) -> None:
        self._order, self._engine = order, engine
        most = order.settings.max_active_requests
        if most is not None:
            self._check_active(most)
            engine.max_num_active_reqs = most

    def state(self) -> Mapping[str, Json]:
        """See ``Tunable``: settings, waiting requests by class, counters since the start."""
        return {**self._order.state(), "settings": self._settings().as_json()}

    def plan(self, changes: Mapping[str, object]) -> Callable[[], Mapping[str, Json]]:
        """See ``Tunable``; the names are those of ``OrderingSettings``."""
        before = self._settings()
        after = changed(before, changes)
        most = after.max_active_requests
        if most is not None:
            self._check_active(most)

        def change() -> Mapping[str, Json]:
            if most is not None:
                self._engine.max_num_active_reqs = most
            self._order.change(after, self._engine.alise_works())
            old, new = before.as_json(), after.as_json()
            return {name: [old[name], new[name]] for name in changes}

        return change

    def _settings(self) -> OrderingSettings:
        active = self._engine.max_num_active_reqs
        return replace(self._order.settings, max_active_requests=active)

    def _check_active(self, most: int) -> None:
        slots = self._engine.max_num_running_reqs
        if most > slots:
            raise ConfigError(
                f"max_active_requests is {most} and the engine has {slots} slots; "
                f"take at most {slots}, or start it with a larger --max-num-seqs"
            )
