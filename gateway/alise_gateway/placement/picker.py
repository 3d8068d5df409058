"""Which backend serves the next request: filter, score, pick. Pure.

Filter: listed, healthy, not draining, breaker lets it through, not tried before by this request,
and with room for what the request is predicted to need. Score, in [0, 1], 1 best: KV memory left at
the worst moment to come, how soon the answer would be done, whether the conversation was there
before, and how much of the prompt's beginning was. Pick: the best score; among equals the one after
the last pick, so that idle backends take turns. In a large pool two backends are compared,
and those that know the request's beginning, not all.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from alise_core.prediction import LengthDistribution
from alise_core.units import BackendName
from alise_gateway.domain.affinity import Affinity
from alise_gateway.domain.backend import Backend, Placed
from alise_gateway.domain.cost_model import CostModel
from alise_gateway.domain.work import Work
from alise_gateway.placement.affinity import AffinityIndex

_SATURATED = Placed(None, usable=True)
_UNAVAILABLE = Placed(None, usable=False)
_ROOM, _SPEED, _PREFIX, _SESSION = 0.35, 0.35, 0.18, 0.12
"""Weights of the scores. Room and speed together outweigh affinity: a cached prefix saves a
prefill, an overfull backend costs preemptions."""
_ALIKE = 0.005
"""Backends whose scores differ by less take turns: what was learned of one alone, however little it
is, must not keep idle requests from all others."""
_LARGE_POOL = 32
"""Above it, the better of two is nearly as good as the best and costs the same at any size
(power of two choices)."""

_FEW_OBSERVATIONS = 8
"""A backend with fewer answers counts as fast as the others: were it judged by what is assumed of
any backend, others that are faster than that would keep it from ever showing its own speed."""
_FRESH_SECONDS = 10.0
"""A backend that was sent nothing for this long counts as fast as the others, too: what was learned
of it under a load that is over would otherwise stay true for ever."""
_AS_FAST = 1.25
"""Speeds within this factor are the same: what is learned of equal engines differs by as much, and
the one that seems faster would be asked alone while nothing waits."""


class Placeable(Protocol):
    """What placement reads of a request."""

    @property
    def number(self) -> int:
        """Rising with arrival."""
        ...

    @property
    def prompt_tokens(self) -> float:
        """Estimate."""
        ...

    @property
    def prediction(self) -> LengthDistribution | None:
        """Of its answer; ``None`` for one without output."""
        ...

    @property
    def work(self) -> Work:
        """What it is expected to cost; all zero before that is known."""
        ...

    @property
    def affinity(self) -> Affinity:
        """What it shares with earlier requests."""
        ...

    @property
    def affinity_ttl_seconds(self) -> float | None:
        """How long its conversation is expected to come back; ``None`` for as long as usual."""
        ...

    @property
    def tried(self) -> Collection[Backend]:
        """Backends that have failed it."""
        ...


class _Remembered:
    """The quantiles of one length, each worked out once for all backends."""

    __slots__ = ("_known", "_length")

    def __init__(self, length: LengthDistribution) -> None:
        self._length = length
        self._known: dict[float, float] = {}

    def quantile(self, probability: float) -> float:
        """See ``LengthDistribution``."""
        found = self._known.get(probability)
        if found is None:
            found = self._known[probability] = self._length.quantile(probability)
        return found


class BestBackend:
    """Picks the backend with the best score; see the module.

    Args:
        affinity: Which backend has seen what.
    """

    def __init__(self, affinity: AffinityIndex | None = None) -> None:
        self._affinity = AffinityIndex() if affinity is None else affinity
        self._turn = 0

    def pick(self, candidates: Sequence[Backend], request: Placeable, now: float) -> Placed:
        """The backend to use, or why there is none.

        Args:
            candidates: Every backend that serves the model, whatever its health.
            request: What is to be placed.
            now: Monotonic seconds.
        """
        if len(candidates) == 1:
            return _only(candidates[0], request, now)
        if len(candidates) > _LARGE_POOL:
            found = self._pick(self._two(candidates, request, now), request, now)
            if found.backend is not None:
                return found
        return self._pick(candidates, request, now)

    def usable(self, candidates: Sequence[Backend], request: Placeable, now: float) -> bool:
        """Whether some backend could serve a request, if it had room; as ``pick`` has it."""
        return any(it.is_usable(now) and it not in request.tried for it in candidates)

    def sent(self, request: Placeable, backend: Backend, now: float) -> None:
        """A request goes to a backend, which will have its beginning cached."""
        prefill = backend.cost.prefill_seconds(request.prompt_tokens)
        backend.sent_at = now
        backend.prefill_until = max(now, backend.prefill_until) + prefill
        self._affinity.record(
            request.affinity, backend.name, now, ttl_seconds=request.affinity_ttl_seconds
        )

    def forget(self, backend: Backend) -> None:
        """A backend is gone, and its cache with it."""
        self._affinity.forget(backend.name)

    def _pick(self, candidates: Sequence[Backend], request: Placeable, now: float) -> Placed:
        rooms: list[tuple[int, Backend, float]] = []
        usable = False
        count = len(candidates)
        start = self._turn
        length = None if request.prediction is None else _Remembered(request.prediction)
        for offset in range(count):
            backend = candidates[(start + offset) % count]
            if not backend.is_usable(now) or backend in request.tried:
                continue
            usable = True
            room = backend.admission.headroom(
                request.prompt_tokens, length, backend.max_in_flight, now
            )
            if room is not None:
                rooms.append((offset, backend, room))
        if not rooms:
            return _SATURATED if usable else _UNAVAILABLE
        offset, best, _ = rooms[0] if len(rooms) == 1 else self._best(rooms, request, now)
        self._turn = (start + offset + 1) % count
        return Placed(best, usable=True)

    def _best(
        self, rooms: list[tuple[int, Backend, float]], request: Placeable, now: float
    ) -> tuple[int, Backend, float]:
        affinity = request.affinity
        shares: Mapping[BackendName, float] = {}
        if affinity.blocks:
            shares = self._affinity.shares(affinity, now)
        session = None
        if affinity.session is not None:
            session = self._affinity.session_backend(affinity, now)
        known = next((backend.cost for _, backend, _ in rooms if _is_known(backend, now)), None)
        seconds = [
            _seconds(backend, known or backend.cost, request, shares.get(backend.name, 0.0), now)
            for _, backend, _ in rooms
        ]
        fastest = min(seconds)
        best, best_score = rooms[0], -1.0
        for room, taken in zip(rooms, seconds, strict=True):
            name = room[1].name
            score = _ROOM * room[2] + _SPEED * fastest / taken
            score += _PREFIX * shares.get(name, 0.0) + _SESSION * (name == session)
            if score > best_score + _ALIKE:
                best, best_score = room, score
        return best

    def _two(self, candidates: Sequence[Backend], request: Placeable, now: float) -> list[Backend]:
        """Two of many, different for every request, and where its beginning was last."""
        count = len(candidates)
        first = request.number * 2_654_435_761 % count  # Knuth's multiplicative hash
        second = (first + 1 + request.number * 40_503 % (count - 1)) % count
        two = [candidates[first], candidates[second]]
        known = self._known(request.affinity, now)
        if known:
            two += [it for it in candidates if it.name in known and it not in two]
        return two

    def _known(self, affinity: Affinity, now: float) -> set[BackendName]:
        """Where the conversation was, and where most of the prompt's beginning is."""
        names: set[BackendName] = set()
        if affinity.session is not None:
            session = self._affinity.session_backend(affinity, now)
            if session is not None:
                names.add(session)
        if affinity.blocks:
            shares = self._affinity.shares(affinity, now)
            if shares:
                names.add(max(shares, key=shares.__getitem__))
        return names


def _only(backend: Backend, request: Placeable, now: float) -> Placed:
    """As for many, where there is one to choose from; whose turn it is stays as it was."""
    if not backend.is_usable(now) or backend in request.tried:
        return _UNAVAILABLE
    room = backend.admission.headroom(
        request.prompt_tokens, request.prediction, backend.max_in_flight, now
    )
    return _SATURATED if room is None else Placed(backend, usable=True)


def _is_known(backend: Backend, now: float) -> bool:
    """Its speed has been seen rather than assumed, and lately."""
    is_fresh = now - backend.sent_at < _FRESH_SECONDS
    return is_fresh and backend.cost.observations >= _FEW_OBSERVATIONS


def _seconds(
    backend: Backend, usual: CostModel, request: Placeable, cached_share: float, now: float
) -> float:
    """When the answer would be done, from now: behind the prompts that were sent before it."""
    before = max(0.0, backend.prefill_until - now)
    prompt = request.prompt_tokens * (1.0 - cached_share)
    tokens, batch = max(1.0, request.work.output_tokens), backend.batch + 1.0
    own = usual.prefill_seconds(prompt) + tokens * usual.step_seconds(batch)
    if backend.cost is not usual and _is_known(backend, now):
        seen = backend.cost.prefill_seconds(prompt) + tokens * backend.cost.step_seconds(batch)
        if not own / _AS_FAST <= seen <= own * _AS_FAST:
            own = seen
    return max(1e-9, before + own)
