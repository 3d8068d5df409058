"""Specs of custom resources: good ones, ones that break a rule, and random changes of rich ones."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from alise_core.crds.definition import DEFINITIONS
from alise_core.crds.examples import EXAMPLES
from alise_core.crds.names import INFERENCE_POOL_GROUP, Kind

PODS: dict[str, Any] = {"selector": {"matchLabels": {"app": "vllm"}}}
POOL_REF: dict[str, Any] = {"inferencePoolRef": {"name": "pool"}}
ELSEWHERE = {"group": INFERENCE_POOL_GROUP, "kind": "InferencePool", "name": "a"}

GOOD: list[tuple[Kind, dict[str, Any]]] = [
    *((kind, dict(EXAMPLES[kind]["spec"])) for kind in DEFINITIONS),
    (Kind.MODEL_POOL, POOL_REF),
    (Kind.MODEL_POOL, {**PODS, "targetPorts": [{"number": 8000}, {"number": 8001}]}),
    (Kind.MODEL_POOL, {**PODS, "fallbacks": [{"model": "a", "fallback": "b"}]}),
    (
        Kind.MODEL_POOL,
        {
            **PODS,
            "aliases": [
                {"name": "a", "targets": [{"model": "b"}, {"model": "c", "weight": 9}]},
                {"name": "b", "targets": [{"model": "c"}]},
            ],
        },
    ),
    (Kind.SCHEDULING_POLICY, {"targetRefs": [{"name": "a"}, {"name": "b"}, ELSEWHERE]}),
    (Kind.SCHEDULING_POLICY, {"admission": {"quantile": 0.5, "highQuantile": 0.5}}),
    (Kind.SCHEDULING_POLICY, {"classes": [{"name": "flex"}, {"name": "batch"}]}),
    (Kind.KV_CACHE_POLICY, {"pressure": {"low": 0, "high": 1}}),
    (Kind.KV_CACHE_POLICY, {"dtypes": {"ladder": ["bfloat16", "fp8"]}}),
    (Kind.KV_CACHE_POLICY, {"rollback": {"holdSeconds": 60, "maxHoldSeconds": 60}}),
    (Kind.KV_CACHE_POLICY, {"canary": {"observeSeconds": 60, "timeoutSeconds": 60}}),
    (Kind.TENANT, {"defaultClass": "batch", "highestClass": "flex"}),
    (Kind.TENANT, {"defaultClass": "priority", "highestClass": "priority"}),
]

BROKEN: list[tuple[Kind, dict[str, Any], str]] = [
    (Kind.MODEL_POOL, {}, "exactly one of selector and inferencePoolRef must be set"),
    (
        Kind.MODEL_POOL,
        {**PODS, **POOL_REF},
        "exactly one of selector and inferencePoolRef must be set",
    ),
    (
        Kind.MODEL_POOL,
        {**POOL_REF, "targetPorts": [{"number": 8000}]},
        "targetPorts must be absent with inferencePoolRef, which has its own ports",
    ),
    (
        Kind.MODEL_POOL,
        {**PODS, "targetPorts": [{"number": 1}, {"number": 2}, {"number": 1}]},
        "targetPorts must name each port once",
    ),
    (
        Kind.MODEL_POOL,
        {**PODS, "aliases": [{"name": "a", "targets": [{"model": "b"}, {"model": "a"}]}]},
        "name must not be one of its own targets",
    ),
    (
        Kind.MODEL_POOL,
        {**PODS, "fallbacks": [{"model": "a", "fallback": "a"}]},
        "fallback must be another model",
    ),
    (
        Kind.SCHEDULING_POLICY,
        {"admission": {"quantile": 0.6, "highQuantile": 0.5}},
        "highQuantile must not be below quantile",
    ),
    (
        Kind.SCHEDULING_POLICY,
        {"targetRefs": [{"name": "a"}, {"kind": "ModelPool", "name": "a"}]},
        "targetRefs must name each pool once",
    ),
    (
        Kind.KV_CACHE_POLICY,
        {"targetRefs": [{"kind": "InferencePool", "name": "a"}]},
        "group must be alise.dev for a ModelPool and inference.networking.k8s.io for an "
        "InferencePool",
    ),
    (Kind.KV_CACHE_POLICY, {"pressure": {"low": 0.9}}, "low must be below high"),
    (
        Kind.KV_CACHE_POLICY,
        {"dtypes": {"ladder": ["fp8"]}},
        "ladder must begin with an unquantized dtype: auto, bfloat16, float16",
    ),
    (
        Kind.KV_CACHE_POLICY,
        {"dtypes": {"ladder": ["auto", "fp8", "fp8"]}},
        "ladder must name each dtype once",
    ),
    (
        Kind.KV_CACHE_POLICY,
        {"hostTier": {"levels": ["int8", "int8"]}},
        "levels must name each level once",
    ),
    (
        Kind.KV_CACHE_POLICY,
        {"hostTier": {"evictionPolicies": ["lru", "lru"]}},
        "evictionPolicies must name each eviction policy once",
    ),
    (
        Kind.KV_CACHE_POLICY,
        {"canary": {"timeoutSeconds": 299}},
        "timeoutSeconds must not be below observeSeconds",
    ),
    (
        Kind.KV_CACHE_POLICY,
        {"rollback": {"holdSeconds": 61, "maxHoldSeconds": 60}},
        "maxHoldSeconds must not be below holdSeconds",
    ),
    (
        Kind.TENANT,
        {"defaultClass": "scale", "highestClass": "default"},
        "defaultClass must not be served before highestClass",
    ),
]

UNEQUAL_LISTS: list[tuple[Kind, dict[str, Any]]] = [
    (Kind.SCHEDULING_POLICY, {"classes": [{"name": "flex"}, {"name": "flex"}]}),
    (Kind.TENANT, {"allowedModels": ["a", "b", "a"]}),
    (
        Kind.MODEL_POOL,
        {**PODS, "fallbacks": [{"model": "a", "fallback": f} for f in "bc"]},
    ),
    (
        Kind.MODEL_POOL,
        {**PODS, "aliases": [{"name": "a", "targets": [{"model": m}]} for m in "bc"]},
    ),
    (
        Kind.MODEL_POOL,
        {**PODS, "aliases": [{"name": "a", "targets": [{"model": "b"}, {"model": "b"}]}]},
    ),
]

VALUES = st.sampled_from(
    [
        *(0, 1, 2, -1, 0.2, 0.5, 0.95, 1.5, 60, 3_600, 90_000, 10**7, 10**12, True, None),
        *("", "a", "b", "flex", "batch", "priority", "boost", "auto", "fp8", "int8", "lru"),
        *("ModelPool", "InferencePool", "alise.dev", INFERENCE_POOL_GROUP, "/v1", "v1/"),
        *("UPPER", "x" * 300, "x" * 600, [], {}, ["a"], [{"name": "a"}], [{"number": 1}]),
        *({"name": "a"}, {"matchLabels": {"a": "b"}}, {"low": 0.95}),
    ]
)
RICH: dict[Kind, dict[str, Any]] = {kind: {**EXAMPLES[kind]["spec"]} for kind in DEFINITIONS}
RICH[Kind.MODEL_POOL] |= {
    "basePath": "/a/b",
    "scheme": "http",
    "fallbacks": [{"model": "a", "fallback": "b"}, {"model": "b", "fallback": "c"}],
    "maxInFlightPerEndpoint": 3,
}
RICH[Kind.SCHEDULING_POLICY] |= {
    "fairness": {"inputWeight": 1, "outputWeight": 1},
    "classes": [{"name": "flex", "maxWaiting": 3}, {"name": "batch"}],
}
RICH[Kind.KV_CACHE_POLICY] |= {
    "rollback": {"holdSeconds": 5, "maxHoldSeconds": 6},
    "pace": {"cooldownSeconds": 1, "maxChangesPerHour": 2},
}
RICH[Kind.TENANT] |= {"defaultClass": "flex"}


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list) and value:
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Kind, Any]:
    kind = draw(st.sampled_from(list(DEFINITIONS)))
    spec = copy.deepcopy(RICH[kind])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(containers(spec)) or [spec]))
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        if keys:
            change(draw, place, draw(st.sampled_from(keys)))
    return kind, spec


def change(draw: st.DrawFn, place: Any, key: Any) -> None:
    what = draw(st.sampled_from(["set", "set", "drop", "double"]))
    if what == "set":
        place[key] = copy.deepcopy(draw(VALUES))
    elif what == "drop":
        del place[key]
    elif isinstance(place, list):
        place.append(copy.deepcopy(place[key]))
