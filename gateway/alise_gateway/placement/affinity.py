"""Which backends have seen a request's beginning, or its conversation, before. Pure.

In: the ``Affinity`` of every request and where it was sent. Out: for a new request, how much of
its beginning each backend has probably cached. What engines really keep is not known here: a block
was computed where a request with it was last sent, and the longer ago that was, the more likely it
has been evicted since. Memory has a bound; what has been unused for longest goes first.

Source: vLLM docs, design/prefix_caching (least recently used blocks are evicted first).
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from alise_core.units import BackendName
from alise_gateway.domain.affinity import Affinity

HALF_LIFE_SECONDS = 120.0
"""After this long a block counts half. A busy engine fills its cache anew within minutes: half a
million tokens, at several thousand a second."""
SESSION_SECONDS = 600.0
"""A person who has not answered by then has gone, and an engine's cache has moved on."""
_MOST_HOLDERS = 8
"""Backends remembered per block. A beginning that more have seen, as a system prompt, is cheap to
compute anew against what binding its requests to few backends would cost."""


@dataclass(slots=True, eq=False)
class _Holder:
    """A backend for as long as its cache lives; a restarted one is another."""

    name: BackendName
    gone: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """A request was sent there at that time; shared by all of its blocks."""

    holder: _Holder
    at: float


_Visits = tuple[_Visit, ...]


class AffinityIndex:
    """Where requests were sent, by what they begin with.

    Every operation takes time in proportion to the blocks of one request.

    Args:
        max_blocks: Blocks remembered, about 300 bytes each.
        max_sessions: Conversations remembered.
        half_life_seconds: Time after which a block counts half.
    """

    def __init__(
        self,
        max_blocks: int = 200_000,
        max_sessions: int = 50_000,
        half_life_seconds: float = HALF_LIFE_SECONDS,
    ) -> None:
        self._max_blocks = max_blocks
        self._max_sessions = max_sessions
        self._half_life_seconds = half_life_seconds
        # OrderedDict, because finding a dict's first key takes longer the more have been deleted.
        self._blocks: OrderedDict[int, _Visits] = OrderedDict()
        self._sessions: OrderedDict[int, tuple[_Holder, float]] = OrderedDict()
        self._holders: dict[BackendName, _Holder] = {}

    @property
    def block_count(self) -> int:
        """Blocks remembered."""
        return len(self._blocks)

    @property
    def session_count(self) -> int:
        """Conversations remembered."""
        return len(self._sessions)

    def record(
        self,
        affinity: Affinity,
        backend_name: BackendName,
        now: float,
        ttl_seconds: float | None = None,
    ) -> None:
        """Note that a request is sent to a backend.

        Args:
            affinity: What it begins with.
            backend_name: Where it goes.
            now: Monotonic seconds.
            ttl_seconds: How long its conversation stays there; ``SESSION_SECONDS`` without it.
        """
        holder = self._holders.get(backend_name)
        if holder is None:
            holder = self._holders[backend_name] = _Holder(backend_name)
        self._record_blocks(affinity.blocks, _Visit(holder, now))
        if affinity.session is not None:
            until = now + (SESSION_SECONDS if ttl_seconds is None else ttl_seconds)
            self._sessions[affinity.session] = (holder, until)
            self._sessions.move_to_end(affinity.session)
            if len(self._sessions) > self._max_sessions:
                self._sessions.popitem(last=False)

    def shares(self, affinity: Affinity, now: float) -> Mapping[BackendName, float]:
        """How much of a request's leading blocks each backend has probably cached, in [0, 1].

        Args:
            affinity: What it begins with.
            now: Monotonic seconds.

        Returns: Backends that have seen some of it; 1 for all of it just now.
        """
        counts: dict[_Visit, int] = {}
        last: _Visits = ()
        run = 0
        for block in affinity.blocks:
            visits = self._blocks.get(block)
            if visits is None:
                break  # what follows contains this block: nobody has seen it either
            if visits is not last:
                _count(counts, last, run)
                last, run = visits, 0
            run += 1
        _count(counts, last, run)
        cached: dict[BackendName, float] = {}
        for visit, count in counts.items():
            if not visit.holder.gone:
                name = visit.holder.name
                cached[name] = cached.get(name, 0.0) + count * self._freshness(now - visit.at)
        return {name: blocks / len(affinity.blocks) for name, blocks in cached.items()}

    def session_backend(self, affinity: Affinity, now: float) -> BackendName | None:
        """Where the conversation's last request was sent; ``None`` where that is too long ago.

        Args:
            affinity: Of the conversation's next request.
            now: Monotonic seconds.
        """
        known = None if affinity.session is None else self._sessions.get(affinity.session)
        if known is None:
            return None
        holder, until = known
        return None if holder.gone or now >= until else holder.name

    def forget(self, backend_name: BackendName) -> None:
        """A backend is gone or has restarted: its cache is lost. Unknown names are ignored."""
        # Looking for its blocks would take long; they are passed over until they are evicted.
        holder = self._holders.pop(backend_name, None)
        if holder is not None:
            holder.gone = True

    def _record_blocks(self, hashes: tuple[int, ...], visit: _Visit) -> None:
        blocks = self._blocks
        last: _Visits | None = None
        newest: _Visits = (visit,)
        # From the end, so that eviction takes a text's end before its beginning.
        for block in reversed(hashes[: self._max_blocks]):
            known = blocks.get(block)
            if known is not last:
                # Neighbouring blocks mostly have the same visits, as one object.
                last, newest = known, _with_newest(known or (), visit)
            blocks[block] = newest
            blocks.move_to_end(block)
        while len(blocks) > self._max_blocks:
            blocks.popitem(last=False)

    def _freshness(self, age_seconds: float) -> float:
        return float(0.5 ** (max(age_seconds, 0.0) / self._half_life_seconds))


def _with_newest(visits: _Visits, visit: _Visit) -> _Visits:
    others = [old for old in visits if old.holder is not visit.holder and not old.holder.gone]
    return (visit, *others[: _MOST_HOLDERS - 1])


def _count(counts: dict[_Visit, int], visits: _Visits, blocks: int) -> None:
    for visit in visits:
        counts[visit] = counts.get(visit, 0) + blocks
