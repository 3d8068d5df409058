"""The status of a ModelPool. Pure."""

from collections.abc import Iterator, Mapping

from alise_core.crds.book import Stored
from alise_core.crds.conditions import ConditionType, Reason
from alise_core.crds.governing import PoolRef, governing
from alise_core.crds.model_pool import EndpointCount, ModelPoolSpec
from alise_core.crds.names import Kind
from alise_operator.decide.accepted import VALID, invalid
from alise_operator.decide.announcements import Announcement, announce, announce_in_force
from alise_operator.decide.conditions import Finding, false, merge, true, unknown
from alise_operator.decide.engine import EngineFacts
from alise_operator.decide.pods import Selection
from alise_operator.decide.pools import Endpoints, endpoints, selection_of
from alise_operator.decide.raw import sequence_at, text_at
from alise_operator.decide.references import (
    NamedSecret,
    Problem,
    enumerate_some,
    resolved,
    secret_problems,
)
from alise_operator.decide.scope import Scope
from alise_operator.decide.status import Json, Verdict


def decide_model_pool(
    pool: Stored[ModelPoolSpec], standing: Mapping[str, object], scope: Scope, unix: float
) -> Verdict:
    """What the status of a pool ought to say.

    Args:
        pool: The object.
        standing: The status that stands there.
        scope: Its namespace.
        unix: Now, in seconds since the epoch.
    """
    selection = None if pool.spec is None else selection_of(scope, pool.spec)
    found = endpoints(scope.pods, selection)
    findings = (
        _accepted(pool),
        _resolved(pool.spec, scope),
        _ready(pool.spec, selection, found.count),
    )
    ref = PoolRef(pool.namespace, Kind.MODEL_POOL, pool.name)
    scheduling = governing(ref, scope.scheduling).winner
    kv_cache = governing(ref, scope.kv_cache).winner
    before = sequence_at(standing, "conditions")
    status: dict[str, Json] = {
        "observedGeneration": pool.generation,
        "conditions": merge(findings, before, pool.generation, unix),
        "schedulingPolicy": None if scheduling is None else scheduling.name,
        "kvCachePolicy": None if kv_cache is None else kv_cache.name,
    }
    status |= _endpoint_fields(found) | _engine_fields(found, scope.engines)
    news = announce(findings, before) + _policy_news(standing, status)
    return Verdict(status, news)


def secrets_named(spec: ModelPoolSpec | None) -> tuple[NamedSecret, ...]:
    """The Secrets that a pool's spec refers to."""
    if spec is None:
        return ()
    named = (
        ("spec.apiKeySecretRef", spec.api_key_secret_ref),
        ("spec.adminTokenSecretRef", spec.admin_token_secret_ref),
    )
    return tuple(NamedSecret(field, ref) for field, ref in named if ref is not None)


def _accepted(pool: Stored[ModelPoolSpec]) -> Finding:
    if pool.problems:
        return invalid(pool.problems, seen_good=pool.spec is not None)
    return true(ConditionType.ACCEPTED, Reason.ACCEPTED, VALID)


def _resolved(spec: ModelPoolSpec | None, scope: Scope) -> Finding:
    if spec is None:
        return unknown(ConditionType.RESOLVED_REFS, Reason.INVALID, "There is no valid spec.")
    problems = [*_pool_problems(spec, scope), *secret_problems(secrets_named(spec), scope.secrets)]
    return resolved(problems)


def _pool_problems(spec: ModelPoolSpec, scope: Scope) -> Iterator[Problem]:
    ref = spec.inference_pool_ref
    if ref is None:
        return
    pool = scope.inference_pools.get(ref.name)
    if not scope.serve_inference_pools:
        text = "spec.inferencePoolRef: InferencePools are not looked at (serve_inference_pools)"
        yield Problem(Reason.REF_NOT_FOUND, text)
    elif pool is None:
        text = f"spec.inferencePoolRef: InferencePool {ref.name!r} does not exist; create it"
        yield Problem(Reason.REF_NOT_FOUND, text)
    elif pool.spec is None:
        text = (
            f"spec.inferencePoolRef: InferencePool {ref.name!r} says no pods that can be used: "
            f"{enumerate_some(list(pool.problems))}"
        )
        yield Problem(Reason.REF_NOT_FOUND, text)


def _ready(
    spec: ModelPoolSpec | None, selection: Selection | None, count: EndpointCount
) -> Finding:
    kind = ConditionType.READY
    if spec is None:
        return unknown(kind, Reason.INVALID, "There is no valid spec.")
    if selection is None:
        return false(kind, Reason.NO_ENDPOINTS, "The InferencePool that says which pods is missing")
    if count.ready:
        return true(kind, Reason.ENDPOINTS_READY, f"{count.ready} of {count.total} are ready")
    if count.total:
        message = f"None of {count.total} is ready; 'kubectl get pods' says why"
        return false(kind, Reason.NO_READY_ENDPOINTS, message)
    labels = ",".join(f"{key}={value}" for key, value in sorted(selection.labels.items()))
    draining = f"; {count.draining} are on their way out" if count.draining else ""
    return false(kind, Reason.NO_ENDPOINTS, f"No pod matches {labels}{draining}")


def _endpoint_fields(found: Endpoints) -> dict[str, Json]:
    count = found.count
    return {
        "endpoints": count.model_dump(),
        "endpointsReady": f"{count.ready}/{count.total}",
    }


def _engine_fields(found: Endpoints, engines: Mapping[str, EngineFacts]) -> dict[str, Json]:
    """What the ready endpoints say.

    While one of them has not been asked yet, what stands is left alone: a new leader knows nothing
    of engines at first, and nobody is served by columns that come and go.
    """
    if any(name not in engines for name in found.ready):
        return {}
    known = [engines[name] for name in found.ready]
    capacities = [e.capacity_tokens for e in known if e.capacity_tokens is not None]
    return {
        "models": sorted({model for engine in known for model in engine.models}),
        "kvCacheDtypes": sorted({dtype for engine in known for dtype in engine.cache_dtypes}),
        "kvCapacityTokens": sum(capacities) if capacities else None,
    }


def _policy_news(
    standing: Mapping[str, object], now: Mapping[str, Json]
) -> tuple[Announcement, ...]:
    return announce_in_force(
        Kind.SCHEDULING_POLICY.value,
        text_at(standing, "schedulingPolicy"),
        text_at(now, "schedulingPolicy"),
    ) + announce_in_force(
        Kind.KV_CACHE_POLICY.value,
        text_at(standing, "kvCachePolicy"),
        text_at(now, "kvCachePolicy"),
    )
