"""vLLM's queue of waiting requests, with the plugin's order in it.

What vLLM's scheduler does with its own queues it does with this one: it looks at the first, takes
it, puts back what it set aside or preempted. Only the order differs, so that its scheduling loop
stays as it is. Imports nothing of vLLM; ``e2e/vllm`` compares the methods with vLLM's own.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from alise_vllm.ordering.hints import read_hints
from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.work import Work


class SamplingParams(Protocol):
    """What is read of vLLM's class of that name."""

    @property
    def extra_args(self) -> object:
        """The client's ``vllm_xargs``."""
        ...


class EngineRequest(Protocol):
    """What is read of vLLM's ``Request``, and one attribute that the plugin adds.

    Attributes:
        alise_work: The order's side of it.
        priority: The client's, until it runs; smaller goes first.
    """

    alise_work: Work
    priority: int

    @property
    def max_tokens(self) -> int:
        """The answer is cut here."""
        ...

    @property
    def num_prompt_tokens(self) -> int:
        """Of the prompt."""
        ...

    @property
    def num_output_tokens(self) -> int:
        """Generated so far."""
        ...

    @property
    def sampling_params(self) -> SamplingParams | None:
        """None where nothing is sampled."""
        ...


def work_of(request: EngineRequest) -> Work | None:
    """The order's side of a request; None for one that it never met."""
    return getattr(request, "alise_work", None)


class WaitingQueue:
    """See the module.

    Args:
        order: Of the engine's requests.
        clock: Seconds, monotonic.
        by_priority: vLLM's own priority is the class of a request that names none; otherwise all
            of those are of one class, as vLLM's order of arrival has it.
    """

    def __init__(
        self, order: RequestOrder, clock: Callable[[], float], *, by_priority: bool
    ) -> None:
        self._order = order
        self._line = order.line
        self._clock = clock
        self._by_priority = by_priority
        self._requests: dict[int, EngineRequest] = {}

    def add_request(self, request: EngineRequest) -> None:
        """It waits from now on."""
        now = self._clock()
        work = work_of(request)
        if work is None:
            work = request.alise_work = self._admit(request, now)
        work.generated = request.num_output_tokens
        self._order.wait(work, now)
        self._requests[work.number] = request

    def prepend_request(self, request: EngineRequest) -> None:
        """The same: its place does not depend on which end it comes from."""
        self.add_request(request)

    def prepend_requests(self, requests: Iterable[EngineRequest]) -> None:
        """The same, for several."""
        for request in requests:
            self.add_request(request)

    def peek_request(self) -> EngineRequest:
        """Who is next; IndexError where nobody waits."""
        return self._requests[self._line.first().number]

    def pop_request(self) -> EngineRequest:
        """Who is next, and no longer waits; IndexError where nobody does."""
        return self._requests.pop(self._line.take().number)

    def best(self, most: int) -> list[EngineRequest]:
        """The next few, in order."""
        return [self._requests[work.number] for work in self._line.best(most)]

    def remove_request(self, request: EngineRequest) -> None:
        """It no longer waits; ValueError where it did not, as with vLLM's queues."""
        work = work_of(request)
        if work is None or not self._line.remove(work):
            raise ValueError("a request that does not wait cannot be removed")
        del self._requests[work.number]

    def remove_requests(self, requests: Iterable[EngineRequest]) -> None:
        """None of them waits any longer; those that did not are left alone."""
        for request in requests:
            work = work_of(request)
            if work is not None and self._line.remove(work):
                del self._requests[work.number]

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._requests)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._requests)

    def __iter__(self) -> Iterator[EngineRequest]:
        """All that wait, in order."""
        return (self._requests[work.number] for work in self._line.in_order())

    def _admit(self, request: EngineRequest, now: float) -> Work:
        params = request.sampling_params
        hints = read_hints(None if params is None else params.extra_args)
        rank = request.priority if self._by_priority else 0
        return self._order.admit(hints, rank, request.num_prompt_tokens, request.max_tokens, now)
