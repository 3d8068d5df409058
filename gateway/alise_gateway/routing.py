"""From the model that a client names to the one that backends serve."""

from collections.abc import Callable
from functools import partial

from alise_core.errors import InvalidRequest, Rejected
from alise_core.outcome import Outcome
from alise_gateway.classify.affinity import session_of
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.request import InferenceRequest, RawHeaders, Tenant
from alise_gateway.identity.authenticator import check_model_allowed
from alise_gateway.intake.parse import with_model

_SHOWN_MODEL_CHARS = 128
_FIRST_PROBE_SECONDS = 5.0


def route(
    inference: InferenceRequest,
    tenant: Tenant,
    registry: BackendRegistry,
    headers: RawHeaders | None = None,
    request_id: bytes = b"",
    on_fallback: Callable[[str], None] | None = None,
) -> str:
    """The served name; puts it into the body where the client used another one.

    An alias with several models splits its conversations: where the client names the conversation,
    all of it goes to one model, else each request is on its own. A model without a usable backend
    is stood in for by its fallback while that has one.

    Args:
        inference: What the client asks for.
        tenant: Who asks.
        registry: What backends serve, and how they are doing.
        headers: Header fields, names in lower case; they may name the conversation.
        request_id: Stands for a conversation that the client does not name.
        on_fallback: Called with the model that is stood in for.

    Raises:
        Unauthorized: The tenant may not use the model.
        InvalidRequest: Nobody serves it (404).
        Rejected: No backend has said yet what it serves.
    """
    check_model_allowed(tenant, inference.model)
    usable = partial(_has_usable_backend, registry, registry.now)
    if registry.is_split(inference.model):
        split_key = _split_key(inference, tenant, headers or [], request_id)
        served = registry.resolve(inference.model, split_key, usable)
    else:
        served = registry.resolve(inference.model)
    fallbacks = registry.fallbacks(inference.model)
    if fallbacks and (served is None or not usable(served)):
        stood_in = next(((old, new) for old, new in fallbacks if usable(new)), None)
        if stood_in is not None:
            missing, served = stood_in
            if on_fallback is not None:
                on_fallback(missing)
    if served is None:
        raise _unknown(inference.model, registry)
    if served != inference.model:
        inference.body = with_model(inference.body, served)
    return served


def _has_usable_backend(registry: BackendRegistry, now: float, served: str) -> bool:
    return any(backend.is_usable(now) for backend in registry.candidates(served))


def _split_key(
    inference: InferenceRequest, tenant: Tenant, headers: RawHeaders, request_id: bytes
) -> bytes:
    session = session_of(inference.content, headers)
    return b"\0".join((tenant.id.encode(), request_id if session is None else session))


def _unknown(model: str, registry: BackendRegistry) -> InvalidRequest | Rejected:
    if not registry.has_catalogue:
        return Rejected(
            "No backend has been reached yet; please retry.",
            outcome=Outcome.REJECTED_NO_BACKENDS,
            retry_after_seconds=_FIRST_PROBE_SECONDS,
        )
    shown = model[:_SHOWN_MODEL_CHARS]
    return InvalidRequest(
        f"The model '{shown}' does not exist; /v1/models lists those that do.",
        status=404,
        param="model",
        code="model_not_found",
    )
