"""What one of several gateways may send to a backend that all of them use. Pure.

Two claims, one on requests and one on KV tokens. What the others have is what the engine says less
what this gateway sent: of requests by counting, of tokens by what its own are expected to hold.
"""

from alise_core.shares import WHOLE, Share
from alise_gateway.domain.claim import Claim, Seen
from alise_gateway.domain.engine_figures import EngineFigures
from alise_gateway.domain.kv_ledger import KvLedger

_TOKENS_DARED = 0.035
"""Less than of requests, which are counted: what others hold of memory is an estimate."""
_FEW = 4
"""Fewer requests of its own say nothing of how much further the others' will grow."""
_USUAL_GROWTH_TOKENS = 20.0
"""By which a request in flight is then expected to grow before enough others have ended."""


class SharedRoom:
    """See the module.

    Attributes:
        share: Which of how many gateways this one is.
        others: Requests that the other gateways have at the backend, as last seen.
        other_tokens: KV tokens that those are expected to need, as last seen.
    """

    __slots__ = ("_released_at", "_requests", "_tokens", "other_tokens", "others", "share")

    def __init__(self) -> None:
        self.share = WHOLE
        self.others = self.other_tokens = 0.0
        self._requests = Claim(whole_numbers=True)
        self._tokens = Claim(whole_numbers=False, dared=_TOKENS_DARED)
        self._released_at: float | None = None

    def set_share(self, share: Share) -> None:
        """There are more gateways now, or fewer; nothing of theirs has been seen yet."""
        self.share = share
        self.forget()

    def forget(self) -> None:
        """The engine says nothing any more."""
        self.others = self.other_tokens = 0.0
        self._requests.forget()
        self._tokens.forget()

    def look(
        self,
        figures: EngineFigures,
        ledger: KvLedger,
        fresh: int,
        limits: tuple[float, int | None],
        correction: float,
        now: float,
    ) -> None:
        """Take note of a scrape.

        Args:
            figures: It.
            ledger: What this gateway has in flight.
            fresh: Requests of those that the engine may not have counted.
            limits: Requests in flight and KV tokens that all gateways may have together.
            correction: Real KV use as a multiple of the expected.
            now: Monotonic seconds.
        """
        if self.share.is_whole:
            return
        whole, capacity = limits
        running, waiting = figures.running, figures.waiting
        if running is None or waiting is None:
            self.forget()
            return
        own = len(ledger)
        self.others = max(0.0, float(running + waiting - (own - fresh)))
        self._requests.look(Seen(whole, own, self.others), self.share, self.share.of(int(whole)))
        usage = figures.usage_ratio
        if capacity is None or capacity <= 0 or usage is None:
            self.other_tokens = 0.0
            self._tokens.forget()
            return
        held, booked = correction * ledger.held(now), correction * ledger.booked(now)
        growth = max(0.0, booked - held) / own if own >= _FEW else _USUAL_GROWTH_TOKENS
        self.other_tokens = max(0.0, usage * capacity - held) + self.others * growth
        seen = Seen(capacity, booked, self.other_tokens)
        self._tokens.look(seen, self.share, self.share.of(capacity))

    def released(self, now: float) -> None:
        """A request has ended; whoever takes its place does so at this moment."""
        self._released_at = now

    def settle(
        self,
        ledger: KvLedger,
        limits: tuple[float, int | None],
        correction: float,
        now: float,
    ) -> None:
        """Give up what was released before and not taken again; arguments as for ``look``."""
        if self._released_at is None or now <= self._released_at:
            return
        self._released_at = None
        whole, capacity = limits
        self._requests.settle(len(ledger), self.share.of(int(whole)))
        if capacity is not None and capacity > 0:
            self._tokens.settle(correction * ledger.booked(now), self.share.of(capacity))

    def most_requests(self, whole: float, *, blind: bool) -> float:
        """Requests that this gateway may have in flight now, of those that all may have."""
        claimed = None if blind else self._requests.most
        return min(whole, self.share.of(int(whole)) if claimed is None else claimed)

    def most_tokens(self, capacity: int, *, blind: bool) -> float:
        """KV tokens that its requests may need now, of a backend's capacity."""
        claimed = None if blind else self._tokens.most
        return min(capacity, self.share.of(capacity) if claimed is None else claimed)
