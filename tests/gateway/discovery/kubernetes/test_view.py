"""Which endpoints there are: examples, and the same as a look at everything at once."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.crds.governing import PoolRef
from alise_core.crds.names import Kind
from alise_gateway.discovery.kubernetes.pods import Pod, read_pod, trim_pod
from alise_gateway.discovery.kubernetes.pools import PoolPlan
from alise_gateway.discovery.kubernetes.view import ClusterView, Endpoint
from fakes import cluster


def plan(name: str, app: str = "a", ports: Sequence[int] = (8000,), created: str = "1") -> PoolPlan:
    ref = PoolRef("ns", Kind.MODEL_POOL, name)
    return PoolPlan(ref, created, frozenset({("app", app)}), tuple(ports))


def pod(name: str, address: str = "10.0.0.1", app: str = "a", **fields: object) -> Pod:
    usual = {"uid": name, "is_ready": True, "labels": {"app": app}} | fields
    return Pod("ns", name, address=address, **usual)  # type: ignore[arg-type]


def test_each_port_of_each_matching_pod_is_an_endpoint() -> None:
    view = ClusterView()
    view.put_pod(pod("x"))
    view.put_pod(pod("v6", "fd00::1"))
    view.put_pod(pod("other", "10.0.0.2", app="b"))
    view.set_plans([plan("chat", ports=(8000, 8001))])

    assert sorted(view.endpoints()) == [
        "10.0.0.1:8000",
        "10.0.0.1:8001",
        "[fd00::1]:8000",
        "[fd00::1]:8001",
    ]
    assert view.take_changed() == set(view.endpoints())
    assert view.take_changed() == set()
    assert view.pods == 3


@pytest.mark.parametrize(
    "fields",
    [{"address": ""}, {"is_leaving": True}, {"is_ready": False}],
)
def test_what_is_no_endpoint(fields: dict[str, object]) -> None:
    view = ClusterView()
    view.set_plans([plan("chat")])
    view.put_pod(pod("x", **fields))  # type: ignore[arg-type]

    assert view.endpoints() == {}


def test_one_that_was_ready_stays_and_is_not_ready() -> None:
    view = ClusterView()
    view.set_plans([plan("chat")])
    view.put_pod(pod("x"))
    view.put_pod(pod("x", is_ready=False))

    (endpoint,) = view.endpoints().values()
    assert not endpoint.is_ready

    # Another pod of its name never was.
    view.put_pod(pod("x", is_ready=False, uid="anew"))
    assert view.endpoints() == {}


def test_the_older_pool_has_a_pod_that_two_select() -> None:
    view = ClusterView()
    view.put_pod(pod("x"))
    view.set_plans([plan("young", created="2"), plan("old", created="1")])

    (endpoint,) = view.endpoints().values()
    assert endpoint.pool.name == "old"
    (problem,) = view.problems()
    assert (problem.name, problem.message) == ("young", "pod x belongs to old already")

    view.set_plans([plan("young", created="2")])
    (endpoint,) = view.endpoints().values()
    assert (endpoint.pool.name, view.problems()) == ("young", [])


def test_an_address_belongs_to_the_pod_that_got_it_last() -> None:
    view = ClusterView()
    view.set_plans([plan("chat")])
    view.put_pod(pod("gone", created="1"))
    view.put_pod(pod("new", created="2"))

    assert view.endpoints()["10.0.0.1:8000"].pod == ("ns", "new")
    view.remove_pod("ns", "new")
    assert view.endpoints()["10.0.0.1:8000"].pod == ("ns", "gone")


def test_keys_are_not_shown() -> None:
    view = ClusterView()
    view.put_pod(pod("x"))
    view.set_plans([replace(plan("chat"), api_key="hidden")])

    assert "hidden" not in repr(view.endpoints())
    assert "hidden" not in repr(view.plans)


PODS = st.builds(
    pod,
    name=st.sampled_from(["p0", "p1", "p2"]),
    address=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    app=st.sampled_from("ab"),
    is_ready=st.booleans(),
    is_leaving=st.booleans(),
    uid=st.sampled_from(["u1", "u2"]),
    created=st.sampled_from(["1", "2"]),
)
PLANS = st.lists(
    st.builds(
        plan,
        name=st.sampled_from(["a", "b", "c"]),
        app=st.sampled_from("ab"),
        ports=st.sampled_from([(8000,), (8000, 8001)]),
        created=st.sampled_from(["1", "2"]),
    ),
    max_size=3,
    unique_by=lambda found: found.ref,
)
STEPS = st.lists(PODS | PLANS | st.sampled_from(["p0", "p1", "p2"]), max_size=20)


class Everything:
    """What there is, kept in the plainest way."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.plans: list[PoolPlan] = []
        self.was_ready: set[tuple[str, str]] = set()

    def put(self, found: Pod) -> None:
        self.pods[found.name] = found
        others = {(name, uid) for name, uid in self.was_ready if name != found.name}
        this = (found.name, found.uid)
        self.was_ready = others | ({this} if found.is_ready or this in self.was_ready else set())

    def remove(self, name: str) -> None:
        self.pods.pop(name, None)
        self.was_ready = {(other, uid) for other, uid in self.was_ready if other != name}

    def look(self) -> ClusterView:
        view = ClusterView()
        for found in self.pods.values():
            if (found.name, found.uid) in self.was_ready:
                view.put_pod(pod(found.name, "", uid=found.uid))
            view.put_pod(found)
        view.set_plans(self.plans)
        return view


def take(step: Pod | list[PoolPlan] | str, view: ClusterView, everything: Everything) -> None:
    match step:
        case Pod():
            view.put_pod(step)
            everything.put(step)
        case str():
            view.remove_pod("ns", step)
            everything.remove(step)
        case list():
            view.set_plans(step)
            everything.plans = step


@given(steps=STEPS)
def test_the_outcome_is_that_of_a_look_at_everything_at_once(
    steps: list[Pod | list[PoolPlan] | str],
) -> None:
    view, everything = ClusterView(), Everything()
    followed: dict[str, Endpoint] = {}
    for step in steps:
        take(step, view, everything)
        for name in view.take_changed():
            endpoint = view.endpoint(name)
            followed.pop(name, None)
            if endpoint is not None:
                followed[name] = endpoint

        assert followed == view.endpoints(), "what is told to have changed is enough to follow it"
        assert everything.look().endpoints() == view.endpoints()
        assert everything.look().problems() == view.problems()


def test_what_is_read_of_a_pod_survives_trimming() -> None:
    raw = {**cluster.pod("x", "10.0.0.9"), "spec": {"containers": [{"image": "y" * 999}]}}
    raw["metadata"] |= {"namespace": "ns", "uid": "u", "resourceVersion": "7", "annotations": {}}

    trimmed = trim_pod(raw)

    assert read_pod(trimmed) == read_pod(raw)
    assert read_pod(raw).is_ready
    assert "spec" not in trimmed
    assert trimmed["metadata"]["resourceVersion"] == "7"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(meta=JSON, status=JSON, conditions=JSON)
def test_no_pod_is_too_absurd_to_read(meta: object, status: object, conditions: object) -> None:
    for raw in (
        {"metadata": meta, "status": status},
        {"metadata": {"labels": meta}, "status": {"conditions": conditions}},
    ):
        assert read_pod(trim_pod(raw)) == read_pod(raw)


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed", "Unknown"])
def test_a_pod_that_does_not_run_is_not_ready(phase: str) -> None:
    found = read_pod(cluster.pod("x", phase=phase))

    assert not found.is_ready
    assert found.is_leaving == (phase in {"Succeeded", "Failed"})
