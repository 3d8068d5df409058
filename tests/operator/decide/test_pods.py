import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_operator.decide.pods import Pod, Selection, endpoint_names, parse_pod
from fakes.custom_objects import Raw, a_pod


def pod(**changes: object) -> Pod:
    parsed = parse_pod(a_pod(**changes))  # type: ignore[arg-type]
    assert parsed is not None
    return parsed


def test_a_pod_is_an_endpoint_once_it_is_ready() -> None:
    assert pod().state.is_endpoint


@pytest.mark.parametrize(
    "changes",
    [
        {"ip": None},
        {"ready": False},
        {"phase": "Pending"},
        {"phase": "Unknown"},
        {"terminating": True},
    ],
)
def test_and_not_before_or_after(changes: dict[str, object]) -> None:
    assert not pod(**changes).state.is_endpoint


@pytest.mark.parametrize(
    ("phase", "over"), [("Succeeded", True), ("Failed", True), ("Running", False)]
)
def test_pods_that_ran_to_their_end(phase: str, over: bool) -> None:
    assert pod(phase=phase).state.is_over is over


def test_every_port_is_an_endpoint() -> None:
    assert endpoint_names(pod(), (8000, 8001)) == ("10.0.0.1:8000", "10.0.0.1:8001")
    assert endpoint_names(pod(ip="fd00::1"), (8000,)) == ("[fd00::1]:8000",)
    assert endpoint_names(pod(ip=None), (8000,)) == ()


def test_what_does_not_matter_makes_no_difference() -> None:
    raw = a_pod()
    raw["metadata"]["resourceVersion"] = "77"
    raw["status"]["conditions"].append({"type": "PodScheduled", "status": "True"})

    assert parse_pod(raw) == pod()


@pytest.mark.parametrize("changes", [{"restarts": 1}, {"ready": False}, {"ip": "10.0.0.2"}])
def test_what_matters_does(changes: dict[str, object]) -> None:
    assert pod(**changes) != pod()


def test_a_selection_needs_all_labels_and_the_namespace() -> None:
    selects = Selection("ns", {"app": "chat"}, (8000,)).selects

    assert selects(pod())
    assert not selects(pod(app="other"))
    assert not Selection("elsewhere", {"app": "chat"}, (8000,)).selects(pod())
    assert not Selection("ns", {"app": "chat", "tier": "gpu"}, (8000,)).selects(pod())
    assert not Selection("ns", {}, (8000,)).selects(pod())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from(["metadata", "status"]), st.data())
def test_no_garbage_breaks_it(part: str, data: st.DataObject) -> None:
    raw: Raw = a_pod()
    name = data.draw(st.sampled_from([None, *raw[part]]))
    garbage = data.draw(JSON)
    if name is None:
        raw[part] = garbage
    else:
        raw[part][name] = garbage

    parsed = parse_pod(raw)

    assert parsed is None or isinstance(parsed.state.is_endpoint, bool)
