"""One policy governs a pool: the most specific, then the oldest."""

from hypothesis import given
from hypothesis import strategies as st

from alise_core.crds.base import TargetRef
from alise_core.crds.book import Stored
from alise_core.crds.governing import PoolRef, governing
from alise_core.crds.names import INFERENCE_POOL_GROUP, Kind
from alise_core.crds.scheduling_policy import SchedulingPolicySpec

POOL = PoolRef("serving", Kind.MODEL_POOL, "llama")
HERE = TargetRef(name="llama")
ELSEWHERE = TargetRef(name="qwen")
SAME_NAME = TargetRef(group=INFERENCE_POOL_GROUP, kind=Kind.INFERENCE_POOL, name="llama")


def policy(
    name: str,
    *refs: TargetRef,
    created: str = "2026-01-01T00:00:00Z",
    namespace: str = "serving",
    valid: bool = True,
    deleted: bool = False,
) -> Stored[SchedulingPolicySpec]:
    return Stored(
        namespace=namespace,
        name=name,
        uid=name,
        generation=1,
        created=created,
        spec=SchedulingPolicySpec(target_refs=refs) if valid else None,
        deleted=deleted,
    )


def names(*policies: Stored[SchedulingPolicySpec]) -> tuple[str | None, list[str]]:
    found = governing(POOL, policies)
    return found.winner.name if found.winner else None, [item.name for item in found.losers]


def test_without_policies_the_defaults_hold() -> None:
    assert names() == (None, [])


def test_one_that_names_the_pool_wins_over_an_older_one_that_names_none() -> None:
    assert names(
        policy("all", created="2025-01-01T00:00:00Z"), policy("special", ELSEWHERE, HERE)
    ) == ("special", ["all"])


def test_the_oldest_wins_among_equals_then_the_name() -> None:
    assert names(
        policy("c", HERE, created="2026-01-02T00:00:00Z"), policy("b", HERE), policy("a", HERE)
    ) == ("a", ["b", "c"])


def test_one_without_a_timestamp_is_not_the_oldest() -> None:
    assert names(policy("a", HERE, created=""), policy("b", HERE)) == ("b", ["a"])


def test_other_pools_other_kinds_and_other_namespaces_do_not_count() -> None:
    assert names(
        policy("a", ELSEWHERE), policy("b", SAME_NAME), policy("c", HERE, namespace="other")
    ) == (None, [])


def test_a_policy_that_never_was_valid_or_is_going_away_is_absent() -> None:
    assert names(policy("a", HERE, valid=False), policy("b", HERE, deleted=True), policy("c")) == (
        "c",
        [],
    )


def test_an_inference_pool_is_governed_by_its_own_name_only() -> None:
    pool = PoolRef("serving", Kind.INFERENCE_POOL, "llama")
    found = governing(pool, [policy("a", HERE), policy("b", SAME_NAME)])

    assert found.winner
    assert found.winner.name == "b"
    assert found.losers == ()


_policies = st.lists(
    st.builds(
        lambda name, refs, created, namespace, valid, deleted: policy(
            name, *refs, created=created, namespace=namespace, valid=valid, deleted=deleted
        ),
        st.sampled_from("abcd"),
        st.sets(st.sampled_from([HERE, ELSEWHERE, SAME_NAME]), max_size=2),
        st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
        st.sampled_from(["serving", "other"]),
        st.booleans(),
        st.booleans(),
    ),
    unique_by=lambda item: item.key,
    max_size=6,
)


@given(_policies, st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order_and_no_loser_is_better(
    policies: list[Stored[SchedulingPolicySpec]], random: object
) -> None:
    found = governing(POOL, policies)
    shuffled = list(policies)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert governing(POOL, shuffled) == found
    if found.winner is None:
        assert found.losers == ()
        return
    # By key: one of another namespace may have the same name.
    specific = {item.key for item in policies if item.spec and HERE in item.spec.target_refs}
    assert found.winner not in found.losers
    for loser in found.losers:
        assert loser.spec is not None
        assert found.winner.key in specific or loser.key not in specific
    assert governing(POOL, found.losers).winner == (found.losers[0] if found.losers else None)
