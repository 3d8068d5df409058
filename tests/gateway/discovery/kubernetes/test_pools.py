"""From ModelPools and InferencePools to plans."""

from alise_core.crds.book import ObjectBook
from alise_core.crds.names import Kind, ObjectKey
from alise_gateway.discovery.kubernetes.key_secrets import Readable, Secret
from alise_gateway.discovery.kubernetes.pools import PoolPlan, Pools, plan_pools, with_key
from fakes.api_server_store import Raw
from fakes.cluster import inference_pool, model_pool


def planned(pools: list[Raw], inference: list[Raw] | None = None, picked: bool = False) -> Pools:
    own, foreign = ObjectBook(Kind.MODEL_POOL), ObjectBook(Kind.INFERENCE_POOL)
    for raw in pools:
        raw["metadata"].setdefault("namespace", "ns")
        own.put(raw)
    for raw in inference or []:
        raw["metadata"].setdefault("namespace", "ns")
        foreign.put(raw)
    return plan_pools(own.items(), foreign.items(), serve_picked=picked)


def referring(name: str = "chat", to: str = "pool", **spec: int) -> Raw:
    raw = model_pool(name, inferencePoolRef={"name": to})
    raw["spec"] |= spec
    del raw["spec"]["selector"], raw["spec"]["targetPorts"]
    return raw


def test_a_model_pool_says_everything() -> None:
    (plan,) = planned(
        [model_pool(ports=(1, 2), scheme="https", basePath="/llm", maxInFlightPerEndpoint=7)]
    ).plans

    assert (plan.ref.name, plan.ref.kind) == ("chat", Kind.MODEL_POOL)
    assert plan.selector == {("app", "vllm")}
    assert (plan.ports, plan.tls, plan.base_path, plan.max_in_flight) == ((1, 2), True, "/llm", 7)


def test_a_reference_takes_pods_from_the_inference_pool_and_the_rest_from_the_model_pool() -> None:
    pools = planned([referring(maxInFlightPerEndpoint=7)], [inference_pool(port=9)])

    (plan,) = pools.plans
    assert (plan.ref.kind, plan.ports, plan.max_in_flight) == (Kind.MODEL_POOL, (9,), 7)


def test_a_reference_to_nothing_is_a_problem_and_hurts_nobody_else() -> None:
    pools = planned([referring(), model_pool("other")])

    assert [plan.ref.name for plan in pools.plans] == ["other"]
    assert [str(problem) for problem in pools.problems] == [
        "ModelPool ns/chat: inferencePoolRef: InferencePool pool does not exist or is not valid"
    ]


def test_an_inference_pool_of_its_own_is_served_unless_it_has_a_picker() -> None:
    picked = inference_pool("picked", endpointPickerRef={"name": "epp"})
    found = [inference_pool("free"), picked]

    assert [plan.ref.name for plan in planned([], found).plans] == ["free"]
    assert [plan.ref.name for plan in planned([], found, picked=True).plans] == ["free", "picked"]


def test_a_spec_that_is_wrong_is_told_and_one_that_is_being_deleted_is_absent() -> None:
    wrong = model_pool("wrong", maxInFlightPerEndpoint=0)
    leaving = model_pool("leaving")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    pools = planned([wrong, leaving])

    assert pools.plans == ()
    (problem,) = pools.problems
    assert "spec.maxInFlightPerEndpoint" in problem.message


def test_the_oldest_comes_first() -> None:
    found = [model_pool("a"), model_pool("b"), model_pool("c")]
    for raw, created in zip(found, ("2", "1", None), strict=True):
        raw["metadata"]["creationTimestamp"] = created

    assert [plan.ref.name for plan in planned(found).plans] == ["b", "a", "c"]


def keyed(**ref: str) -> PoolPlan:
    (plan,) = planned([model_pool(apiKeySecretRef={"name": "keys"} | ref)]).plans
    return plan


def secrets(secret: Secret) -> dict[ObjectKey, Secret]:
    return {ObjectKey("ns", "keys"): secret}


def test_a_key_is_waited_for_as_long_as_nobody_knows_of_it() -> None:
    assert with_key(keyed(), {}) == (None, None)
    assert with_key(keyed(), secrets(Secret())) == (None, None)


def test_a_key_is_taken_from_the_one_entry_or_from_the_one_that_is_named() -> None:
    one = Secret(Readable.PRESENT, {"token": b"secret\n"})
    two = Secret(Readable.PRESENT, {"a": b"first", "b": b"second"})

    plan, problem = with_key(keyed(), secrets(one))
    assert plan is not None
    assert (plan.api_key, problem) == ("secret", None)
    assert "secret\\n" not in repr(plan) + repr(one)
    plan, problem = with_key(keyed(key="b"), secrets(two))
    assert plan is not None
    assert (plan.api_key, problem) == ("second", None)


def test_a_key_that_cannot_be_had_is_told_and_the_pool_is_served_without() -> None:
    told = {}
    for name, secret in {
        "forbidden": Secret(Readable.FORBIDDEN),
        "missing": Secret(Readable.MISSING),
        "empty": Secret(Readable.PRESENT, {}),
        "several": Secret(Readable.PRESENT, {"a": b"x", "b": b"y"}),
        "spaces": Secret(Readable.PRESENT, {"a": b"x y"}),
        "bytes": Secret(Readable.PRESENT, {"a": b"\xff"}),
        "nothing": Secret(Readable.PRESENT, {"a": b"\n"}),
    }.items():
        plan, problem = with_key(keyed(), secrets(secret))
        assert plan is not None
        assert plan.api_key is None
        assert problem is not None
        told[name] = problem.message

    no_key = "entry a of Secret keys must be one key: printable characters, no spaces, one line"
    assert told == {
        "forbidden": "Secret keys may not be read; grant it by resourceNames",
        "missing": "Secret keys does not exist; create it",
        "empty": "Secret keys has no entry",
        "several": "Secret keys has several entries; say which one with key",
        "spaces": no_key,
        "bytes": "entry a of Secret keys is not ASCII text",
        "nothing": no_key,
    }
