"""Aliases of many pools: one that is wrong hurts nobody else, and what counts is always sound."""

from hypothesis import given
from hypothesis import strategies as st

from alise_core.crds.governing import PoolRef
from alise_core.crds.model_pool import Alias, Fallback, WeightedModel
from alise_core.crds.names import Kind
from alise_gateway.discovery.catalogue import Target, check_aliases, check_fallbacks
from alise_gateway.discovery.kubernetes.names import Names, merge_names
from alise_gateway.discovery.kubernetes.pools import PoolPlan


def alias(name: str, *models: str) -> Alias:
    return Alias(name=name, targets=tuple(WeightedModel(model=model) for model in models))


def fallback(model: str, stand_in: str) -> Fallback:
    return Fallback(model=model, fallback=stand_in)


def plan(name: str, *aliases: Alias, fallbacks: tuple[Fallback, ...] = ()) -> PoolPlan:
    ref = PoolRef("ns", Kind.MODEL_POOL, name)
    return PoolPlan(ref, "1", frozenset(), (8000,), aliases=aliases, fallbacks=fallbacks)


def refused(*plans: PoolPlan, own: Names | None = None) -> list[str]:
    return [str(problem) for problem in merge_names(own or Names(), plans)[1]]


def test_what_several_pools_say_counts_together() -> None:
    names, problems = merge_names(
        Names({"own": (Target("x"),)}, {"x": "y"}),
        [
            plan("a", alias("gpt", "m")),
            plan("b", alias("gpt", "m"), fallbacks=(fallback("m", "y"),)),
        ],
    )

    assert names.aliases == {"own": (Target("x"),), "gpt": (Target("m"),)}
    assert names.fallbacks == {"x": "y", "m": "y"}
    assert problems == []


def test_the_older_pool_is_right() -> None:
    assert refused(plan("a", alias("gpt", "m")), plan("b", alias("gpt", "other"))) == [
        "ModelPool ns/b: alias 'gpt' is taken by an older pool"
    ]
    assert refused(plan("a", alias("gpt", "m")), own=Names({"gpt": (Target("x"),)}, {})) == [
        "ModelPool ns/a: alias 'gpt' is taken by an older pool"
    ]


def test_each_way_to_be_wrong_is_told() -> None:
    told = refused(
        plan("a", alias("gpt", "m"), fallbacks=(fallback("m", "n"),)),
        plan(
            "b",
            alias("self", "self"),
            alias("twice", "x", "x"),
            alias("m", "y"),
            alias("n", "y"),
            alias("chain", "gpt"),
            fallbacks=(
                fallback("m", "z"),
                fallback("q", "q"),
                fallback("q", "m"),
                fallback("n", "q"),
                fallback("gpt", "q"),
            ),
        ),
    )

    assert [line.removeprefix("ModelPool ns/b: ") for line in told] == [
        "alias 'self' stands for itself; remove it",
        "alias 'twice' names a model more than once; add up its weights",
        "alias 'm' is a model that an older alias leads to",
        "alias 'n' is a model that an older fallback names",
        "alias 'chain' leads to 'gpt', which is an alias; name the served model",
        "fallback of 'm' is set by an older pool",
        "fallback of 'q' is itself; remove it",
        "fallback of 'q' makes a chain with an older one; only one step is taken",
        "fallback of 'n' makes a chain with an older one; only one step is taken",
        "fallback of 'gpt' names 'gpt', which is an alias; name the model",
    ]


MODELS = st.sampled_from("abcdef")
ALIASES = st.builds(
    lambda name, models: alias(name, *models),
    MODELS,
    st.lists(MODELS, min_size=1, max_size=2),
)
PLANS = st.lists(
    st.builds(
        lambda name, aliases, fallbacks: plan(name, *aliases, fallbacks=tuple(fallbacks)),
        st.sampled_from(["p", "q", "r"]),
        st.lists(ALIASES, max_size=4),
        st.lists(st.builds(fallback, MODELS, MODELS), max_size=3),
    ),
    max_size=4,
)


@given(plans=PLANS)
def test_what_counts_is_sound_and_all_else_is_reported(plans: list[PoolPlan]) -> None:
    names, problems = merge_names(Names(), plans)

    check_aliases(names.aliases)
    check_fallbacks(names.fallbacks, names.aliases)
    told = {(problem.name, problem.message) for problem in problems}
    for item in plans:
        about = [message for name, message in told if name == item.ref.name]
        for wished in item.aliases:
            targets = tuple(Target(target.model, target.weight) for target in wished.targets)
            refused = any(message.startswith(f"alias {wished.name!r}") for message in about)
            assert names.aliases.get(wished.name) == targets or refused
        for stood_in in item.fallbacks:
            text = f"fallback of {stood_in.model!r}"
            refused = any(message.startswith(text) for message in about)
            assert names.fallbacks.get(stood_in.model) == stood_in.fallback or refused
