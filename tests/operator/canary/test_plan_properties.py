"""However often the operator is killed, a change ends: all pods have it, or none."""

import json
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from alise_operator.canary.plan import Look, State
from alise_operator.canary.seen import Goal
from fakes.canary_story import FP8, Story, image, is_fp8, more_arguments, never_with_fp8
from fakes.rolling_workload import Conflict, FakeWorkload, Json

ENDS = {State.DONE, State.HELD, State.IDLE, State.REFUSED}


def any_starts(template: Json) -> bool:
    return True


class Killed(Story):
    """Of whom only the cluster remembers anything."""

    def kill(self) -> None:
        self.measured = None

    def late(self, found: Look) -> None:
        """Effects of a look that others have overtaken."""
        try:
            self.act(found)
        except (Conflict, StopIteration):
            return

    def quiet(self) -> State:
        """What it comes to when nobody disturbs it any more."""
        self.blocked, self.paused = (), False
        for _ in range(400):
            self.now += 50
            state = self.step().state
            if state in ENDS:
                return state
        raise AssertionError((self.step(), self.record))


KINDS = st.sampled_from(["Deployment", "StatefulSet"])
STARTS: st.SearchStrategy[Callable[[Json], bool]] = st.sampled_from([any_starts, never_with_fp8])
GOALS = st.sampled_from([FP8, replace(FP8, most_pods=1), replace(FP8, canary=False)])
MOVES = st.lists(
    st.sampled_from(
        ["step", "step", "step", "lost", "late", "killed", "tick", "block", "free", "pause", "go",
         "unwanted", "wanted", "hour", "back", "crash"]
    ),
    max_size=40,
)  # fmt: skip


def disturb(story: Killed, move: str, goal: Goal) -> None:
    moves: dict[str, Callable[[], object]] = {
        "step": story.step,
        "lost": lambda: lost(story),
        "late": lambda: overtaken(story),
        "killed": story.kill,
        "tick": story.world.tick,
        "block": lambda: setattr(story, "blocked", ("budget",)),
        "free": lambda: setattr(story, "blocked", ()),
        "pause": lambda: setattr(story, "paused", True),
        "go": lambda: setattr(story, "paused", False),
        "unwanted": lambda: setattr(story, "goal", None),
        "wanted": lambda: setattr(story, "goal", goal),
        "hour": lambda: setattr(story, "now", story.now + 3_600),
        "back": lambda: setattr(story, "now", story.now - 7_200),
        "crash": lambda: crash(story),
    }
    moves[move]()


def lost(story: Killed) -> None:
    """Killed between the decision and the act."""
    story.look()
    story.kill()


def overtaken(story: Killed) -> None:
    """The act of one look comes after that of the next."""
    found = story.look()
    story.step()
    story.late(found)


def crash(story: Killed) -> None:
    for pod in story.world.pods:
        if is_fp8(pod.template):
            pod.restarts += 1


@settings(max_examples=60, deadline=None)
@given(KINDS, st.integers(2, 5), STARTS, st.booleans(), GOALS, MOVES)
def test_it_ends_with_all_or_none_and_never_two_down(
    kind: str, replicas: int, starts: Callable[[Json], bool], passes: bool, goal: Goal,
    moves: list[str],
) -> None:  # fmt: skip
    story = Killed(FakeWorkload(kind, replicas, starts=starts), goal)
    story.passes = passes
    for move in moves:
        disturb(story, move, goal)
        assert story.world.ready >= replicas - 1
    if goal.canary is False and starts is never_with_fp8:
        story.goal = None  # it waits for ever where there is nowhere safer to go
    elif story.goal is not None:
        story.goal = replace(goal, most_pods=None)
    end = story.quiet()
    assert story.record["underway"] is None
    assert story.changed in {0, replicas}
    assert (story.changed == replicas) == (end is State.DONE) or story.goal is None
    if story.changed == 0:
        assert json.dumps(story.world.spec, sort_keys=True) == story.before
    story.settle()
    assert story.world.ready == replicas


@settings(max_examples=40, deadline=None)
@given(KINDS, st.integers(2, 5), st.integers(0, 60), st.sampled_from([image, more_arguments]),
       st.booleans())  # fmt: skip
def test_an_edit_at_any_moment_is_kept(
    kind: str, replicas: int, steps: int, edit: Callable[[Json], None], late: bool
) -> None:
    story = Killed(FakeWorkload(kind, replicas))
    for _ in range(steps):
        story.step()
    found = story.look()
    done = story.record["underway"] is None and story.changed == replicas
    story.world.edit(edit)
    if late:
        story.late(found)
    for _ in range(3):
        story.act(story.look())
    story.settle()
    expected: Json = {"spec": json.loads(story.before)}
    edit(expected)
    container = expected["spec"]["template"]["spec"]["containers"][0]
    assert story.world.container.get("image") == container.get("image")
    assert set(container["args"]) <= set(story.world.container["args"])
    assert done or story.record["underway"] is not None or story.changed == 0


@settings(max_examples=30, deadline=None)
@given(KINDS, st.lists(st.tuples(st.integers(0, 12), st.integers(2, 6)), max_size=5))
def test_autoscalers_may_do_as_they_like(kind: str, scalings: list[tuple[int, int]]) -> None:
    story = Killed(FakeWorkload(kind, 3))
    for steps, replicas in scalings:
        for _ in range(steps):
            story.act(story.look())
            story.world.tick()

        def scale(raw: Json, replicas: int = replicas) -> None:
            raw["spec"].update(replicas=replicas)

        story.world.edit(scale)
        story.world.tick()
    story.settle()
    for _ in range(1_000):
        found = story.look()
        story.act(found)
        if found.state in ENDS:
            break
        story.world.tick()
    assert found.state in ENDS
    assert story.record["underway"] is None
    assert story.changed in {0, story.world.spec["replicas"]}
