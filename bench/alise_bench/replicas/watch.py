"""What is seen of engines that several gateways use, moment by moment. Pure."""

from dataclasses import dataclass, field

_SPARE = 0.85
"""Below this part of both its requests and its memory an engine has room to spare."""


@dataclass(slots=True)
class _Stretch:
    """The longest time for which something went on."""

    since: float | None = None
    longest: float = 0.0

    def note(self, now: float, *, goes_on: bool) -> None:
        """It does, or does not, at this moment."""
        if not goes_on:
            self.since = None
        elif self.since is None:
            self.since = now
        else:
            self.longest = max(self.longest, now - self.since)


@dataclass(slots=True)
class _Engine:
    in_flight: float = 0.0
    booked: float = 0.0
    idle: _Stretch = field(default_factory=_Stretch)
    spare: _Stretch = field(default_factory=_Stretch)


class Watch:
    """See the module.

    Args:
        engines: How many.
    """

    def __init__(self, engines: int) -> None:
        self._engines = [_Engine() for _ in range(engines)]

    def note(
        self,
        engine: int,
        now: float,
        *,
        in_flight: float,
        allowed: float,
        booked: float,
        waiting: bool,
    ) -> None:
        """One moment of one engine.

        Args:
            engine: Which.
            now: Seconds.
            in_flight: Requests that all gateways have there, as part of those configured.
            allowed: Requests that its own queue has shown to be enough, as part of the same.
            booked: KV tokens that they expect to need, as part of its capacity.
            waiting: Some gateway has a request that waits.
        """
        it = self._engines[engine]
        it.in_flight, it.booked = max(it.in_flight, in_flight), max(it.booked, booked)
        it.idle.note(now, goes_on=waiting and in_flight == 0)
        it.spare.note(now, goes_on=waiting and max(in_flight / allowed, booked) < _SPARE)

    @property
    def most_in_flight(self) -> float:
        """Of any engine at any moment, as part of what is allowed."""
        return max(it.in_flight for it in self._engines)

    @property
    def most_booked(self) -> float:
        """Of any engine at any moment, as part of its capacity."""
        return max(it.booked for it in self._engines)

    @property
    def longest_idle(self) -> float:
        """Seconds for which an engine had nothing to do while a request waited somewhere."""
        return max(it.idle.longest for it in self._engines)

    @property
    def longest_spare(self) -> float:
        """Seconds for which an engine had room to spare while a request waited somewhere."""
        return max(it.spare.longest for it in self._engines)
