"""A workload and an operator that looks at it, over time."""

import json

from alise_core.crds.kv_cache_policy import KVCachePolicySpec
from alise_operator.canary.arguments import Argument
from alise_operator.canary.plan import DeletePod, Look, Measure, Patch, State, look
from alise_operator.canary.record import RECORD_ANNOTATION
from alise_operator.canary.seen import Goal, Judged
from alise_operator.canary.workload import Setting
from fakes.rolling_workload import FakeWorkload, Json

NOW = 1_750_000_000.0
SPEC = KVCachePolicySpec()
FP8 = Goal("--kv-cache-dtype=fp8", (Setting(Argument("--kv-cache-dtype"), "fp8"),))


def is_fp8(template: Json) -> bool:
    return "fp8" in json.dumps(template["spec"]["containers"][0]["args"])


def never_with_fp8(template: Json) -> bool:
    return not is_fp8(template)


class Story:
    """A workload and an operator that looks at it every ten seconds."""

    def __init__(self, world: FakeWorkload, goal: Goal | None = FP8) -> None:
        self.world, self.goal = world, goal
        self.now, self.passes = NOW, True
        self.blocked: tuple[str, ...] = ()
        self.paused = False
        self.before = json.dumps(world.spec, sort_keys=True)
        self.measured: Judged | None = None

    @property
    def changed(self) -> int:
        return sum(is_fp8(pod.template) for pod in self.world.pods)

    @property
    def record(self) -> Json:
        text = self.world.raw["metadata"]["annotations"].get(RECORD_ANNOTATION)
        found: Json = json.loads(text) if text else {"underway": None, "holds": []}
        return found

    def look(self) -> Look:
        self.now += 10
        seen = self.world.seen(self.measured, self.blocked, paused=self.paused)
        return look(SPEC, self.goal, seen, self.now)

    def act(self, found: Look) -> None:
        for effect in found.effects:
            if isinstance(effect, Patch):
                self.world.patch(effect.body)
            elif isinstance(effect, DeletePod):
                self.world.delete_pod(effect.uid)
            else:
                self.measure(effect)

    def measure(self, effect: Measure) -> None:
        assert effect.controls
        uid = next(pod.uid for pod in self.world.pods if pod.name == effect.canary)
        self.measured = Judged(uid, self.passes, "figures")

    def step(self) -> Look:
        found = self.look()
        self.act(found)
        self.world.tick()
        # One pod serves less than there should be, at most.
        assert self.world.ready >= self.world.spec["replicas"] - 1
        return found

    def until(self, *states: State, steps: int = 600) -> Look:
        seen = []
        for _ in range(steps):
            found = self.step()
            if found.state in states:
                return found
            seen.append((found.state.value, found.text))
        raise AssertionError(seen[-5:])

    def settle(self) -> None:
        for _ in range(20):
            self.world.tick()


def image(raw: Json) -> None:
    raw["spec"]["template"]["spec"]["containers"][0]["image"] = "other"


def more_arguments(raw: Json) -> None:
    raw["spec"]["template"]["spec"]["containers"][0]["args"].append("--port=1")
