from collections.abc import Iterable

from alise_cluster.cache import Change, ChangeKind
from alise_cluster.resources import key_of
from alise_core.crds.names import Kind
from alise_operator.decide.scope import WorkKey
from alise_operator.observe.catalogue import Catalogue
from fakes.custom_objects import Raw, a_pod, a_policy, a_pool, a_tenant, an_inference_pool

POOL, KV = Kind.MODEL_POOL, Kind.KV_CACHE_POLICY


def put(raw: Raw) -> Change:
    return Change(ChangeKind.MODIFIED, key_of(raw), raw)


def removed(raw: Raw) -> Change:
    return Change(ChangeKind.DELETED, key_of(raw), raw, raw)


def names(keys: Iterable[WorkKey]) -> set[str]:
    return {f"{key.kind.value}/{key.name}" for key in keys}


def a_catalogue(**objects: Iterable[Raw]) -> Catalogue:
    catalogue = Catalogue()
    for kind, raws in objects.items():
        changes = [put(raw) for raw in raws]
        if kind == "pods":
            catalogue.apply_pods(changes)
        else:
            catalogue.apply(Kind[kind], changes)
    return catalogue


def test_a_new_pool_touches_itself_and_the_policies_around_it() -> None:
    catalogue = a_catalogue(
        SCHEDULING_POLICY=[a_policy("p")], KV_CACHE_POLICY=[a_policy("kv")], TENANT=[a_tenant()]
    )

    touched = catalogue.apply(POOL, [put(a_pool("a"))])

    assert names(touched) == {"ModelPool/a", "SchedulingPolicy/p", "KVCachePolicy/kv"}


def test_a_status_touches_only_its_object() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("a")], SCHEDULING_POLICY=[a_policy("p")])

    touched = catalogue.apply(POOL, [put(a_pool("a") | {"status": {"endpointsReady": "1/1"}})])

    assert names(touched) == {"ModelPool/a"}


def test_a_policy_touches_its_rivals_and_every_pool() -> None:
    catalogue = a_catalogue(
        MODEL_POOL=[a_pool("a"), a_pool("b")],
        SCHEDULING_POLICY=[a_policy("p")],
        KV_CACHE_POLICY=[a_policy("kv")],
    )

    touched = catalogue.apply(KV, [put(a_policy("kv2", "a"))])

    assert names(touched) == {
        "ModelPool/a",
        "ModelPool/b",
        "KVCachePolicy/kv",
        "KVCachePolicy/kv2",
    }


def test_an_invalid_spec_that_changes_nothing_touches_only_its_object() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("a")], SCHEDULING_POLICY=[a_policy("p", "a")])
    bad = a_policy("p", "a", admission={"quantile": 9})

    assert names(catalogue.apply(Kind.SCHEDULING_POLICY, [put(bad)])) == {"SchedulingPolicy/p"}


def test_an_inference_pool_touches_pools_and_policies() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("a")], SCHEDULING_POLICY=[a_policy("p")])

    touched = catalogue.apply(Kind.INFERENCE_POOL, [put(an_inference_pool("i"))])

    assert names(touched) == {"InferencePool/i", "ModelPool/a", "SchedulingPolicy/p"}


def test_what_is_gone_touches_what_it_mattered_to() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("a")], SCHEDULING_POLICY=[a_policy("p")])

    touched = catalogue.apply(POOL, [removed(a_pool("a"))])

    assert names(touched) == {"ModelPool/a", "SchedulingPolicy/p"}
    assert catalogue.find(WorkKey(POOL, "ns", "a")) is None
    assert names(catalogue.all_keys()) == {"SchedulingPolicy/p"}


def test_being_deleted_matters() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("a")], SCHEDULING_POLICY=[a_policy("p")])
    going = a_policy("p")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert "ModelPool/a" in names(catalogue.apply(Kind.SCHEDULING_POLICY, [put(going)]))


def test_tenants_touch_nobody_else() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("a")])

    assert names(catalogue.apply(Kind.TENANT, [put(a_tenant("t"))])) == {"Tenant/t"}


def test_a_pod_touches_the_pools_that_select_it() -> None:
    shared = an_inference_pool("shared", selector={"matchLabels": {"app": "chat"}})
    catalogue = a_catalogue(
        MODEL_POOL=[
            a_pool("chat"),
            a_pool("other"),
            a_pool("via", inferencePoolRef={"name": "shared"}),
        ],
        INFERENCE_POOL=[shared],
    )

    assert names(catalogue.apply_pods([put(a_pod())])) == {"ModelPool/chat", "ModelPool/via"}


def test_a_pod_that_moves_touches_where_it_was_and_where_it_is() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("chat"), a_pool("other")], pods=[a_pod()])

    touched = catalogue.apply_pods([put(a_pod(app="other"))])

    assert names(touched) == {"ModelPool/chat", "ModelPool/other"}


def test_a_pod_that_says_nothing_new_touches_nothing() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("chat")], pods=[a_pod()])
    again = a_pod()
    again["metadata"]["resourceVersion"] = "99"

    assert catalogue.apply_pods([put(again)]) == set()


def test_a_pod_that_is_gone_touches_its_pool_once() -> None:
    catalogue = a_catalogue(MODEL_POOL=[a_pool("chat")], pods=[a_pod()])

    assert names(catalogue.apply_pods([removed(a_pod())])) == {"ModelPool/chat"}
    assert catalogue.apply_pods([removed(a_pod())]) == set()
    assert list(catalogue.scope("ns").pods) == []


def test_other_namespaces_are_left_alone() -> None:
    elsewhere = a_policy("p")
    elsewhere["metadata"]["namespace"] = "elsewhere"
    catalogue = a_catalogue(MODEL_POOL=[a_pool("a")])

    touched = catalogue.apply(Kind.SCHEDULING_POLICY, [put(elsewhere)])

    assert touched == {WorkKey(Kind.SCHEDULING_POLICY, "elsewhere", "p")}


def test_what_has_no_name_is_passed_over() -> None:
    catalogue = Catalogue()

    assert catalogue.apply(POOL, [put({"metadata": {}})]) == set()
    assert catalogue.apply_pods([put({"metadata": {}})]) == set()
    assert list(catalogue.all_keys()) == []


def test_objects_are_counted() -> None:
    counts = a_catalogue(MODEL_POOL=[a_pool("a")], pods=[a_pod("x"), a_pod("y")]).counts()

    assert (counts["ModelPool"], counts["Pod"], counts["Tenant"]) == (1, 2, 0)
