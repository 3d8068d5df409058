"""Which model is scheduled by which policy, and which of several gateways we are."""

from hypothesis import given
from hypothesis import strategies as st

from alise_core.crds.book import ObjectBook
from alise_core.crds.governing import PoolRef
from alise_core.crds.names import Kind
from alise_core.policy import OrderingName, SchedulingPolicy
from alise_core.shares import Share
from alise_gateway.discovery.kubernetes.peers import share_among
from alise_gateway.discovery.kubernetes.pods import Pod
from alise_gateway.discovery.kubernetes.policies import (
    policies_of_models,
    policies_of_pools,
    policy_problems,
)
from alise_gateway.discovery.kubernetes.pools import PoolPlan
from fakes.api_server_store import Raw
from fakes.cluster import policy

OLD = PoolPlan(PoolRef("ns", Kind.MODEL_POOL, "old"), "1", frozenset(), (1,))
YOUNG = PoolPlan(PoolRef("ns", Kind.MODEL_POOL, "young"), "2", frozenset(), (1,))


def book_of(*raws: Raw) -> ObjectBook:  # type: ignore[type-arg]
    book = ObjectBook(Kind.SCHEDULING_POLICY)
    for number, raw in enumerate(raws):
        raw["metadata"] |= {"namespace": "ns", "uid": str(number), "creationTimestamp": str(number)}
        book.put(raw)
    return book


def ordering(policies: dict[PoolRef, SchedulingPolicy], plan: PoolPlan) -> OrderingName | None:
    found = policies.get(plan.ref)
    return None if found is None else found.ordering.name


def test_a_policy_that_names_a_pool_wins_over_one_for_all() -> None:
    book = book_of(
        policy("all", ordering={"name": "sjf"}), policy("ours", "old", ordering={"name": "fcfs"})
    )

    found = policies_of_pools([OLD, YOUNG], book.items())

    assert ordering(found, OLD) is OrderingName.FCFS
    assert ordering(found, YOUNG) is OrderingName.SJF


def test_a_pool_that_none_governs_has_none_of_its_own() -> None:
    book = book_of(policy("theirs", "old"), policy("wrong", "young", ordering={"name": "x"}))

    found = policies_of_pools([OLD, YOUNG], book.items())

    assert list(found) == [OLD.ref]
    assert ["spec.ordering.name" in str(problem) for problem in policy_problems(book.items())] == [
        True
    ]


def test_a_model_that_several_pools_serve_goes_by_the_oldest() -> None:
    ours, theirs = SchedulingPolicy(max_waiting=1), SchedulingPolicy(max_waiting=2)
    served = {OLD.ref: ["both", "mine"], YOUNG.ref: ["both", "theirs"]}

    found = policies_of_models([OLD, YOUNG], {OLD.ref: ours, YOUNG.ref: theirs}, served)
    assert found == {"both": ours, "mine": ours, "theirs": theirs}
    # Even where the oldest goes by the settings.
    found = policies_of_models([OLD, YOUNG], {YOUNG.ref: theirs}, served)
    assert found == {"theirs": theirs}


PEERS = st.lists(
    st.builds(
        Pod,
        namespace=st.just("ns"),
        name=st.sampled_from(["g0", "g1", "g2", "g3"]),
        is_ready=st.booleans(),
        is_leaving=st.booleans(),
    ),
    max_size=6,
)


@given(peers=PEERS)
def test_ready_gateways_agree_on_their_places(peers: list[Pod]) -> None:
    ready = {pod.name for pod in peers if pod.is_ready and not pod.is_leaving}
    shares = [share_among(peers, name) for name in sorted(ready)]

    assert shares == [Share(index, len(ready)) for index in range(len(ready))]


def test_who_is_not_ready_counts_itself() -> None:
    peers = [Pod("ns", "g0", is_ready=True), Pod("ns", "g1")]

    assert share_among(peers, "g1") == Share(1, 2)
    assert share_among(peers, "g0") == Share(0, 1)
    assert share_among([], "g0") == Share(0, 1)
