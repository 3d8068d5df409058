"""What is run: one gateway or several, the same requests for all. Pure."""

import random
from dataclasses import dataclass

from alise_bench.compare.rows import DEFAULT
from alise_bench.compare.simulation import SCRAPE_SECONDS
from alise_bench.replicas.virtual import Asked, Setup, World
from alise_bench.sim.step_model import PROFILES

SKEWED = (0.8, 0.15, 0.05)
ONE = (1.0,)
_PROMPT_TOKENS = (50, 600)
_MEDIAN_LOG, _SPREAD = 5.0, 0.9
"""Of answers' lengths: a median of 150 tokens, a mean of 220."""
_LONGEST = 1_400


@dataclass(frozen=True, slots=True)
class Case:
    """Which replicas get how much, and what becomes of them.

    Attributes:
        name: As in the results.
        weights: Part of the load of each replica.
        dies: The first one, the busiest, is killed midway.
    """

    name: str
    weights: tuple[float, ...]
    dies: bool = False


CASES = (
    Case("one gateway", ONE),
    Case("three, 80/15/5 %", SKEWED),
    Case("three, 80/15/5 %, the first killed", SKEWED, dies=True),
    Case("three, equal", (1 / 3, 1 / 3, 1 / 3)),
)


@dataclass(frozen=True, slots=True)
class Engines:
    """What the replicas are in front of.

    Attributes:
        name: As in the results.
        profile: Of each engine.
        rate: Requests a second, of all together: about what the engines can do.
    """

    name: str
    profile: str
    rate: float


ENGINES = (
    Engines("memory-bound: 15,680 KV tokens each", "a100-13b", 7.0),
    Engines("bound by 256 requests each", "a100", 42.0),
)
PODS = 2


def requests(rate: float, seconds: float, seed: int) -> list[Asked]:
    """Poisson arrivals with lengths as of chats."""
    generator = random.Random(seed)  # noqa: S311
    found: list[Asked] = []
    now = generator.expovariate(rate)
    while now <= seconds:
        tokens = int(generator.lognormvariate(_MEDIAN_LOG, _SPREAD))
        found.append(Asked(now, generator.randint(*_PROMPT_TOKENS), min(_LONGEST, max(1, tokens))))
        now += generator.expovariate(rate)
    return found


def simulate(
    case: Case,
    engines: Engines,
    seconds: float,
    seed: int,
    look_seconds: float = SCRAPE_SECONDS,
) -> World:
    """Run one case; lengths are known, so that nothing but the replicas' doing is seen.

    Args:
        case: Which gateways.
        engines: Which engines.
        seconds: Of requests.
        seed: Of everything that is drawn.
        look_seconds: Between two looks of a gateway at an engine's figures.
    """
    setup = Setup(
        PROFILES[engines.profile],
        PODS,
        case.weights,
        DEFAULT,
        dies_at=seconds / 2 if case.dies else None,
        seed=seed,
        knows=True,
        look_seconds=look_seconds,
    )
    world = World(setup, requests(engines.rate, seconds, seed))
    world.run(seconds)
    return world
