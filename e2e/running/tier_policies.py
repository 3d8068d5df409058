"""Random life of the tier's books with vLLM's own eviction and ours in turn; in its environment.

Usage: ``python -m running.tier_policies ROUNDS``. Ends with an error when the books do not hold.
"""

import random
import sys
import time

from alise_vllm.tier.ewt import Waits
from alise_vllm.tier.levels import EXTENTS, Level
from alise_vllm.tier.policies import make_policy
from alise_vllm.tier.settings import EVICTIONS
from fakes.tier import World

STEPS = 200
MANY = 10_000


def live(seed: int) -> None:
    """One world, from its beginning to its end."""
    chance = random.Random(seed)  # noqa: S311
    waits = Waits(expected=lambda name: float(len(name)) or None)
    world = World(lambda: make_policy(chance.choice(EVICTIONS), waits), 6 * EXTENTS)
    for _ in range(STEPS):
        name = chance.choice(["a", "b", "cc", "ddd"])
        keys = [bytes([number]) for number in chance.sample(range(16), chance.randint(1, 5))]
        what = chance.randrange(8)
        if what < 2:
            world.put(name, keys)
        elif what == 2:
            world.load(name, keys)
        elif what == 3:
            world.end(name)
        elif what == 4:
            world.store.level = chance.choice(list(Level))
        elif what == 5:
            world.store.change_policy(make_policy(chance.choice(EVICTIONS), waits))
        elif what == 6:
            world.step(flush=False)
            world.store.resize(chance.randint(1, 8) * EXTENTS)
        world.step(flush=chance.random() < 0.5)
    world.finish()


def measure() -> None:
    """What a change of policy costs with many chunks."""
    world = World(lambda: make_policy("lru", Waits()), MANY * EXTENTS)
    world.put("a", [number.to_bytes(4, "big") for number in range(MANY)])
    world.step(flush=True)
    for name in EVICTIONS:
        start = time.perf_counter()
        world.store.change_policy(make_policy(name, Waits()))
        print(f"{name}: {(time.perf_counter() - start) * 1e3:.2f} ms for {MANY} chunks")


if __name__ == "__main__":
    for round_ in range(int(sys.argv[1])):
        live(round_)
    measure()
