"""How long tools take and how much they return, learned from the requests that follow. Pure.

In: every request's content as it arrives, and the ends of answers. Out: for requests that may call
tools, the pause until their conversation comes back and what it will have grown by. An agent's
answer ends in a call, the agent runs the tool, and its next request brings the result; answers are
not read for this. That a request follows an answer is told from its messages: those before the call
are the messages that the answer was given to.

Figures are medians of the latest calls, by tool, else by tenant, else a prior: durations of tools
spread over orders of magnitude, and one that hung says nothing of the next.

Source: LAMPS, arXiv 2410.18248, section 3 (predicting a call's duration and the length of what it
returns, to choose whether the KV is kept meanwhile).
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Generic, TypeVar

from alise_gateway.classify.tool_messages import (
    ToolMessages,
    conversation_key,
    may_return,
    offered_names,
    offers_tools,
    read_messages,
    tools_key,
)
from alise_gateway.domain.affinity import ToolUse
from alise_gateway.domain.content import ContentFields

PRIOR_PAUSE_SECONDS = 5.0
"""Of tools that nothing is known of: between a search and a test run."""
PRIOR_WITHIN_SECONDS = 60.0
PRIOR_RETURN_TOKENS = 200.0

_BYTES_PER_TOKEN = 4.0
_SHORTEST_PAUSE_SECONDS = 0.001
"""Durations are compared by their logarithm."""
_LONGEST_PAUSE_SECONDS = 3_600.0
"""Whoever comes back later was waiting for a person; its KV is long gone."""
_RECENT_CALLS = 25
"""A median of that many is within a third of the true one, and follows a tool that changes."""
_ENOUGH_CALLS = 3
_MOST_OFFERS = 512
"""Lists of tools whose names are remembered."""
_LEAST_SPREAD = 0.25
"""Calls that all took the same time so far: the next may take a quarter longer all the same."""
_SPREADS = 3.0
"""Median and three median deviations: what all but a few calls of a hundred stay below."""

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ToolTurn:
    """A request that offers tools or brings their results.

    Attributes:
        use: What is expected of its answer's calls.
        returns_within_seconds: When the conversation has not come back this long after its answer,
            it will hardly come back.
        key: Of the conversation, for ``ToolCalls.finished``; ``None`` where it is too long to be
            known again.
    """

    use: ToolUse
    returns_within_seconds: float
    key: int | None


class _Recent:
    """Median and spread of the latest values, all of them above 0."""

    __slots__ = ("_logs", "median", "upper")

    def __init__(self) -> None:
        self._logs: deque[float] = deque(maxlen=_RECENT_CALLS)
        self.median = 0.0
        self.upper = 0.0

    def __len__(self) -> int:
        return len(self._logs)

    def add(self, value: float) -> None:
        self._logs.append(log(value))
        middle = _middle(self._logs)
        spread = max(_LEAST_SPREAD, _middle(abs(value - middle) for value in self._logs))
        self.median = exp(middle)
        self.upper = exp(middle + _SPREADS * spread)


@dataclass(slots=True, eq=False)
class _Figures:
    """What is known of one tool, or of a tenant's tools."""

    calls: int = 0
    pause: _Recent = field(default_factory=_Recent)
    size: _Recent = field(default_factory=_Recent)

    def add(self, pause_seconds: float | None, return_tokens: float) -> None:
        self.calls += 1
        self.size.add(return_tokens)
        if pause_seconds is not None:
            self.pause.add(pause_seconds)


class _Learned(Generic[_K]):
    """Figures by key; of too many the ones unused for longest are forgotten."""

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._figures: OrderedDict[_K, _Figures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._figures)

    def get(self, key: _K) -> _Figures | None:
        return self._figures.get(key)

    def add(self, key: _K, pause_seconds: float | None, return_tokens: float) -> None:
        figures = self._figures.get(key)
        if figures is None:
            figures = self._figures[key] = _Figures()
        figures.add(pause_seconds, return_tokens)
        self._figures.move_to_end(key)
        if len(self._figures) > self._max_keys:
            self._figures.popitem(last=False)


class ToolCalls:
    """Learns about tools from the requests that bring their results.

    Time and memory are bounded whatever requests contain.

    Args:
        max_open: Answers whose conversations may come back; the oldest are forgotten first.
        max_tools: Pairs of tenant and tool that are learned about; the one unused for longest goes
            first.
        max_tenants: Tenants whose tools together are learned about.
    """

    def __init__(
        self, max_open: int = 50_000, max_tools: int = 4_096, max_tenants: int = 1_024
    ) -> None:
        self._max_open = max_open
        self._ended: OrderedDict[int, float] = OrderedDict()
        self._by_tool = _Learned[tuple[str, str]](max_tools)
        self._by_tenant = _Learned[str](max_tenants)
        self._offered: OrderedDict[int, tuple[str, ...]] = OrderedDict()

    @property
    def open_count(self) -> int:
        """Answers whose conversations may come back."""
        return len(self._ended)

    @property
    def tool_count(self) -> int:
        """Pairs of tenant and tool that something is known of."""
        return len(self._by_tool)

    def arrived(
        self, content: ContentFields, tenant: str, model: str, now: float
    ) -> ToolTurn | None:
        """Learn from a request, and say what to expect after its answer.

        Args:
            content: The body's fields.
            tenant: Id of its tenant; nothing is learned about one from another.
            model: Name of the model, the same at every turn of a conversation.
            now: Monotonic seconds.

        Returns: ``None`` for a request that neither offers tools nor brings their results.
        """
        offers = offers_tools(content)
        if not offers and not may_return(content):
            return None
        read = read_messages(content)
        if not offers and not read.returned_bytes:
            return None
        seed = hash((tenant, model))
        if read.returned_bytes:
            self._learn(read, tenant, seed, now)
        pause_seconds, within_seconds, return_tokens = self._expected(content, tenant)
        return ToolTurn(
            ToolUse(pause_seconds, return_tokens, continues=read.returned_bytes > 0),
            within_seconds,
            conversation_key(read.messages, seed) if read.messages else None,
        )

    def finished(self, turn: ToolTurn, now: float) -> None:
        """A request's answer has ended: the pause begins.

        Args:
            turn: What ``arrived`` said of the request.
            now: Monotonic seconds.
        """
        if turn.key is None:
            return
        self._ended[turn.key] = now
        self._ended.move_to_end(turn.key)
        if len(self._ended) > self._max_open:
            self._ended.popitem(last=False)

    def _learn(self, read: ToolMessages, tenant: str, seed: int, now: float) -> None:
        # Taken out: a follow-up that is sent again teaches nothing new.
        ended = self._ended.pop(conversation_key(read.messages[: read.asked], seed), None)
        pause_seconds: float | None = None
        if ended is not None and 0.0 <= now - ended <= _LONGEST_PAUSE_SECONDS:
            pause_seconds = max(now - ended, _SHORTEST_PAUSE_SECONDS)
        return_tokens = read.returned_bytes / _BYTES_PER_TOKEN
        self._by_tenant.add(tenant, pause_seconds, return_tokens)
        if len(read.called) == 1:
            # Of different tools that were called together it is not known which took how long.
            (name,) = read.called
            self._by_tool.add((tenant, name), pause_seconds, return_tokens)

    def _expected(self, content: ContentFields, tenant: str) -> tuple[float, float, float]:
        """Pause, longest likely pause, returned tokens; of tools by how often they are called."""
        found = [self._by_tool.get((tenant, name)) for name in self._names(content)]
        tools = [figures for figures in found if figures is not None]
        whole = self._by_tenant.get(tenant)
        pauses = _known([(tool.calls, tool.pause) for tool in tools])
        sizes = _known([(tool.calls, tool.size) for tool in tools])
        if whole is not None:
            pauses = pauses or _known([(1, whole.pause)])
            sizes = sizes or _known([(1, whole.size)])
        return (
            _mean_median(pauses, PRIOR_PAUSE_SECONDS),
            max((recent.upper for _, recent in pauses), default=PRIOR_WITHIN_SECONDS),
            _mean_median(sizes, PRIOR_RETURN_TOKENS),
        )

    def _names(self, content: ContentFields) -> tuple[str, ...]:
        # An agent offers the same tools at every turn; reading them takes a microsecond per KiB.
        key = tools_key(content)
        names = self._offered.get(key)
        if names is None:
            names = self._offered[key] = offered_names(content)
            if len(self._offered) > _MOST_OFFERS:
                self._offered.popitem(last=False)
        return names


_Weighted = tuple[int, _Recent]


def _middle(values: Iterable[float]) -> float:
    """Median, without the generality that makes the standard library's take five times as long."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _known(found: Sequence[_Weighted]) -> Sequence[_Weighted]:
    return [(calls, recent) for calls, recent in found if len(recent) >= _ENOUGH_CALLS]


def _mean_median(found: Sequence[_Weighted], prior: float) -> float:
    if not found:
        return prior
    return sum(calls * recent.median for calls, recent in found) / sum(calls for calls, _ in found)
