import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_operator.canary.arguments import Argument
from alise_operator.canary.quantities import bytes_of, quantity_of
from alise_operator.canary.seen import seen_pod
from alise_operator.canary.words import Refused
from alise_operator.canary.workload import (
    Fields,
    Owner,
    Raw,
    Setting,
    TierSize,
    WorkloadKind,
    changed_fields,
    keeper_of,
    others_fingerprint,
    owner_of,
    template_patch,
    vllm_container,
    without_ours,
)

DTYPE = Setting(Argument("--kv-cache-dtype"), "fp8")


def owned(kind: str, uid: str, version: str = "apps/v1", name: str = "engines") -> Raw:
    reference = {"kind": kind, "uid": uid, "name": name, "apiVersion": version, "controller": True}
    return {"metadata": {"name": "p", "ownerReferences": [reference]}}


def template(*args: str, **changes: object) -> Raw:
    return {"spec": {"containers": [{"name": "vllm", "args": list(args), **changes}]}}


def test_owners() -> None:
    deployment = Owner(WorkloadKind.DEPLOYMENT, "engines", "d")
    sets = {"r1": owned("Deployment", "d"), "r2": owned("Deployment", "d")}
    pods = [owned("ReplicaSet", "r1"), owned("ReplicaSet", "r2")]
    assert owner_of(pods, sets) == deployment
    stateful = owner_of([owned("StatefulSet", "s")], {})
    assert stateful == Owner(WorkloadKind.STATEFUL_SET, "engines", "s")


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ([], "found: none"),
        ([{"metadata": {"name": "p"}}], "owned by nothing"),
        ([owned("DaemonSet", "x")], "DaemonSet"),
        ([owned("StatefulSet", "x", "apps.kruise.io/v1")], "kruise"),
        ([owned("ReplicaSet", "x")], "not known yet"),
        ([owned("StatefulSet", "a"), owned("StatefulSet", "b", name="c")], "one workload"),
    ],
)
def test_owners_that_are_not_understood(pods: list[Raw], says: str) -> None:
    with pytest.raises(Refused, match=says):
        owner_of(pods, {})


def test_which_container_runs_vllm() -> None:
    side: dict[str, object] = {"name": "side", "args": ["--x"]}
    server = {"name": "engine", "command": ["vllm", "serve"]}
    assert vllm_container({"spec": {"containers": [{"name": "only"}]}}) == "only"
    assert vllm_container({"spec": {"containers": [side, server]}}) == "engine"
    assert vllm_container({"spec": {"containers": [side, {"name": "vllm"}]}}) == "vllm"
    with pytest.raises(Refused, match="side, x"):
        vllm_container({"spec": {"containers": [side, {"name": "x"}]}})


def test_only_what_changes_is_patched() -> None:
    before = template("m")
    after = changed_fields(before, "vllm", [DTYPE], None)
    patch = template_patch(before, "vllm", Fields(args=("m",)), after)
    assert patch == {
        "spec": {"containers": [{"name": "vllm", "args": ["m", "--kv-cache-dtype=fp8"]}]}
    }
    assert template_patch(before, "vllm", after, after) == {"spec": {}}


def test_the_rest_of_a_template_is_known_again() -> None:
    one = others_fingerprint(template("m", image="a"), "vllm")
    assert one == others_fingerprint(template("n", image="a"), "vllm")
    assert one != others_fingerprint(template("m", image="b"), "vllm")


def test_a_tier_in_shared_memory_needs_some() -> None:
    tier = TierSize(0, 2**30, in_shm=True)
    with pytest.raises(Refused, match="emptyDir"):
        changed_fields(template("m"), "vllm", [], tier)
    assert changed_fields(template("m"), "vllm", [], TierSize(0, 1)).memory_limit is None


def test_a_command_line_without_end() -> None:
    with pytest.raises(Refused, match="more than"):
        changed_fields(template("x" * 40_000), "vllm", [DTYPE], None)


def test_what_others_made_of_it_stays() -> None:
    before, after = Fields(args=("m",)), Fields(args=("m", "--kv-cache-dtype=fp8"))
    theirs = Fields(args=("n", "--kv-cache-dtype=fp8", "-x"), memory_limit="1Gi")
    assert without_ours(after, before, after, [DTYPE]) == before
    assert without_ours(theirs, before, after, [DTYPE]) == Fields(
        args=("n", "-x"), memory_limit="1Gi"
    )
    odd = Fields(args=("--kv-cache-dtype=fp8", "--kv-cache-dtype=fp8"))
    assert without_ours(odd, before, after, [DTYPE]) == odd


def managed(manager: str, operation: str, *fields: str) -> Raw:
    held: Raw = {'k:{"name":"vllm"}': dict.fromkeys(fields)}
    nested = {"f:spec": {"f:template": {"f:spec": {"f:containers": held}}}}
    entry = {"manager": manager, "operation": operation, "fieldsV1": nested}
    return {"metadata": {"managedFields": [entry]}}


@pytest.mark.parametrize(
    ("workload", "kept"),
    [
        (managed("kubectl-client-side-apply", "Update", "f:args"), False),
        (managed("helm", "Update", "f:args"), False),
        (managed("alise-operator", "Apply", "f:args"), False),
        (managed("kubectl", "Apply", "f:image"), False),
        (managed("kubectl", "Apply", "f:args"), True),
        (managed("argocd-controller", "Update", "f:args"), True),
        ({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}}, True),
    ],
)
def test_who_keeps_fields(workload: Raw, kept: bool) -> None:
    found = keeper_of(workload, "vllm", Fields(args=("a",)), Fields(args=("b",)))
    assert (found is not None) is kept


@pytest.mark.parametrize(
    ("text", "size"),
    [("64Gi", 2**36), ("1.5Gi", 3 * 2**29), ("500M", 500_000_000), ("1e9", 10**9), ("7", 7),
     ("100m", 1)],
)  # fmt: skip
def test_quantities(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "-1", "1GiB", None])
def test_no_quantities(text: object) -> None:
    with pytest.raises(Refused, match="not a quantity"):
        bytes_of(text)


@given(st.integers(0, 2**50))
def test_quantities_are_rounded_up_to_mebibytes(size: int) -> None:
    assert size <= bytes_of(quantity_of(size)) < size + 2**20


def test_pods_that_are_over_are_not_seen() -> None:
    assert seen_pod({"metadata": {"name": "p", "namespace": "x"},
                     "status": {"phase": "Failed"}}, "vllm") is None  # fmt: skip


def test_why_a_pod_is_not_ready() -> None:
    metadata = {"name": "p", "namespace": "x"}
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                     "message": "0/3 nodes"}  # fmt: skip
    pending = seen_pod({"metadata": metadata, "status": {"conditions": [unschedulable]}}, "vllm")
    assert pending is not None
    assert pending.trouble == "Unschedulable: 0/3 nodes"
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
    pulling = seen_pod({"metadata": metadata, "status": {"containerStatuses": [waiting]}}, "vllm")
    assert pulling is not None
    assert pulling.trouble == "ImagePullBackOff"
