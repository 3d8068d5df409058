"""One look for room: who is asked, and how often."""

from collections.abc import Sequence

from alise_gateway.domain.backend import Backend, Placed
from alise_gateway.queueing.events import Ticket
from alise_gateway.queueing.look import Look
from fakes.pool_world import World
from fakes.queue_bench import backend
from fakes.tickets import anybody


class Room:
    """So many output tokens fit, in all; remembers whom it was asked for."""

    def __init__(self, tokens: float, *, usable: bool = True) -> None:
        self.tokens = tokens
        self.usable_at_all = usable
        self.asked: list[int] = []

    def pick(self, candidates: Sequence[Backend], request: Ticket, now: float) -> Placed:
        del now
        self.asked.append(request.number)
        if not self.usable_at_all or request.work.output_tokens > self.tokens:
            return Placed(None, usable=self.usable_at_all)
        self.tokens -= request.work.output_tokens
        return Placed(candidates[0], usable=True)

    def usable(self, candidates: Sequence[Backend], request: Ticket, now: float) -> bool:
        raise AssertionError("asked on arrival only")

    def sent(self, request: Ticket, backend: Backend, now: float) -> None:
        raise AssertionError("told by the queue")


def dispatched(world: World, room: Room, backfill: int = 4) -> list[int]:
    """Look until there is no more room."""
    look = Look(world.pool, (backend(),), room, anybody, backfill, world.now)
    numbers = []
    while (found := look.next()) is not None:
        world.pool.remove(found[0], world.now)
        world.pool.dispatched(found[0], world.now)
        numbers.append(found[0].number)
    return numbers


def test_everybody_goes_while_there_is_room() -> None:
    world = World()
    for _ in range(5):
        world.wait(tokens=10)
    room = Room(30)
    assert dispatched(world, room) == [0, 1, 2]
    assert room.asked == [0, 1, 2, 3, 4], "and then those that might be smaller"


def test_who_has_found_no_room_is_not_asked_again() -> None:
    world = World()
    large = [world.wait(tokens=100) for _ in range(2)]
    for _ in range(4):
        world.wait(tokens=10)
    room = Room(30)
    assert dispatched(world, room) == [2, 3, 4]
    assert room.asked == [0, 1, 2, 3, 4, 5]
    assert [each.passed for each in large] == [3, 3], "every dispatch goes past them"


def test_no_more_are_tried_than_may_be() -> None:
    world = World()
    for tokens in (100, 100, 100, 10):
        world.wait(tokens=tokens)
    room = Room(30)
    assert dispatched(world, room, backfill=2) == []
    assert room.asked == [0, 1, 2]


def test_room_is_kept_for_whom_enough_have_gone_past() -> None:
    world = World()
    large = world.wait(tokens=100)
    for _ in range(20):
        world.wait(tokens=1)
    room = Room(50)
    assert len(dispatched(world, room)) == large.passed == 16
    assert dispatched(world, Room(99)) == []
    assert dispatched(world, Room(104)) == [0, 17, 18, 19, 20]


def test_what_has_failed_a_request_is_free_for_others() -> None:
    world = World()
    unlucky = world.wait(tokens=100)
    unlucky.tried.append(backend())
    world.wait(tokens=10)
    assert dispatched(world, Room(10), backfill=0) == [1]
    assert unlucky.passed == 0


def test_where_nothing_is_usable_one_question_is_enough() -> None:
    world = World()
    for _ in range(5):
        world.wait()
    room = Room(100, usable=False)
    assert dispatched(world, room) == []
    assert room.asked == [0]
