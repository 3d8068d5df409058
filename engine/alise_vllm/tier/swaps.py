"""No KV is loaded in a step in which a request gave way; pure.

What gives way still writes its last blocks out, and what would be loaded into the room that it
left competes with that for the same lanes, for a request that may be the next to give way. Source:
FastServe, whose proactive swapping never swaps in while it swaps out. vLLM keeps to it by itself
where memory ran out: it starts nobody in a step that preempted.
"""

from collections.abc import Callable


class Swaps:
    """The rule, for one engine, step by step.

    Attributes:
        held: Loads that waited for the next step, since the start.
        on_hold: Called when a load is held; the place that was made is kept for it.
    """

    def __init__(self) -> None:
        self.held = 0
        self.on_hold: Callable[[], None] | None = None
        self._out = False
        self._holds = self._held_before = False

    def out(self) -> None:
        """A request gives way in this step."""
        self._out = True

    def hold(self) -> bool:
        """Whether a load waits for the next step.

        Never in two steps that follow each other: whoever is held starts in the next one, whatever
        gives way then.
        """
        if not self._out or self._held_before:
            return False
        self._holds = True
        self.held += 1
        if self.on_hold is not None:
            self.on_hold()
        return True

    def step_ends(self) -> None:
        """The step is planned."""
        self._held_before, self._holds, self._out = self._holds, False, False
