"""An engine whose slots are full, in virtual time: what its scheduler asks of the order.

The adapter to vLLM does little beside these calls; what it reads of vLLM's requests is read here
of ``Request``, which has as much behind its properties.
"""

import random
from dataclasses import dataclass, field

from alise_vllm.ordering.order import RequestOrder
from alise_vllm.ordering.policies import PolicyName
from alise_vllm.ordering.settings import OrderingSettings
from alise_vllm.ordering.work import Work
from alise_vllm.running import RunningRequests
from alise_vllm.waiting import EngineRequest, WaitingQueue, work_of

STEP_SECONDS = 0.02
_LOOKED_AT = 4
"""Waiting requests that the adapter tries to make room for in one step."""
_MEDIAN_TOKENS = (20, 800)
_PROMPT_TOKENS = (20, 1_000)
_MOST_TOKENS = 4_096
_PREDICTED_SHARE = 0.9
_CLASSES = (0, 1, 2, 2, 2, 3)


@dataclass(frozen=True, slots=True)
class Shape:
    """What an engine has to do.

    Attributes:
        policy: Orders the requests.
        waiting: Requests that wait all the time.
        running: Slots, all of them taken.
        tight: Memory is about to run out, so that every step has to say who goes first then.
    """

    policy: PolicyName
    waiting: int
    running: int
    tight: bool


@dataclass(slots=True)
class Params:
    """Of sampling, as far as the order reads them."""

    extra_args: object


@dataclass(eq=False, slots=True)
class Request:
    """A request as the scheduler keeps it."""

    length: int
    num_prompt_tokens: int
    sampling_params: Params | None
    priority: int = 0
    max_tokens: int = _MOST_TOKENS
    runs: bool = False
    alise_work: Work = field(init=False)
    _output: list[int] = field(default_factory=list)

    @property
    def num_output_tokens(self) -> int:
        """Tokens so far."""
        return len(self._output)

    def generate(self) -> bool:
        """One token more; whether it was the last."""
        self._output.append(0)
        return len(self._output) >= self.length


class Scene:
    """See the module.

    Args:
        shape: What the engine has to do.
        seed: Of everything that is drawn.

    Attributes:
        preempted: Requests that gave way so far.
    """

    def __init__(self, shape: Shape, seed: int) -> None:
        self._shape = shape
        self._random = random.Random(seed)  # noqa: S311
        self._now = 0.0
        self._order = RequestOrder(OrderingSettings(policy=shape.policy))
        self._queue = WaitingQueue(self._order, lambda: self._now, by_priority=False)
        self._running: list[Request] = []
        self._may_give_way = RunningRequests[Request](self._order, lambda request: request.runs)
        self.preempted = 0
        self._fill()

    @property
    def full(self) -> bool:
        """As many wait as shall."""
        return len(self._queue) >= self._shape.waiting

    def draw(self) -> Request:
        """Somebody who comes."""
        generator = self._random
        p50 = generator.randint(*_MEDIAN_TOKENS)
        length = max(1, min(_MOST_TOKENS, round(p50 * generator.lognormvariate(0, 0.6))))
        said: dict[str, object] = {"alise_class": generator.choice(_CLASSES)}
        if generator.random() < _PREDICTED_SHARE:
            said |= {"alise_p50": p50, "alise_p90": 2 * p50}
        return Request(length, generator.randint(*_PROMPT_TOKENS), Params(said))

    def arrive(self, request: Request) -> None:
        """It waits from now on: what is measured of an arrival."""
        self._queue.add_request(request)

    def pick(self) -> EngineRequest:
        """Somebody who waits."""
        return self._queue.best(self._random.randint(1, _LOOKED_AT))[-1]

    def leave(self, request: EngineRequest) -> None:
        """Its client is gone: what is measured of an abort."""
        self._queue.remove_request(request)

    def step(self) -> None:
        """Schedule one step: what is measured of a step."""
        self._order.begin_step(self._now)
        self._may_give_way.look(self._running)
        if self._shape.tight:
            self._may_give_way.rank(self._running)
        if len(self._running) == self._shape.running and self._queue:
            self._make_room()
        while self._queue and len(self._running) < self._shape.running:
            request = self._queue.peek_request()
            assert self._queue.pop_request() is request  # noqa: S101  as vLLM does
            request.runs = True  # type: ignore[attr-defined]
            self._running.append(request)  # type: ignore[arg-type]
        running = len(self._running)
        self._order.end_step(self._now, running, running)

    def run(self) -> None:
        """The engine does what was scheduled; not measured."""
        self._now += STEP_SECONDS
        left = []
        for request in self._running:
            request.runs = not request.generate()
            if request.runs:
                left.append(request)
        self._running = left

    def sort(self) -> int:
        """Score everybody who waits, and sort: what an order without a line does in every step."""
        policy, pace = self._order.settings.make_policy(), self._order.pace
        scored = [
            (policy.value(policy.cost(work, pace, resident=False), work), work.number)
            for work in map(work_of, self._queue)
            if work is not None
        ]
        return len(sorted(scored))

    def _make_room(self) -> None:
        if not self._order.asks(self._queue.peek_request().alise_work):
            return
        for waiting in self._queue.best(_LOOKED_AT):
            asking = waiting.alise_work
            if not self._order.asks(asking):
                return
            worst = self._may_give_way.worst(lambda request: True)
            work = None if worst is None else worst.alise_work
            if not self._order.exchanges(asking, work) or worst is None:
                return
            self._running.remove(worst)
            worst.runs = False
            self._order.gives_way(worst.alise_work)
            self._queue.prepend_request(worst)
            self.preempted += 1

    def _fill(self) -> None:
        for _ in range(self._shape.running):
            request = self.draw()
            self.arrive(request)
        self.step()
        while not self.full:
            self.arrive(self.draw())
