"""From the model that a client names to the one that backends serve."""

from alise_core.errors import InvalidRequest, Rejected
from alise_core.outcome import Outcome
from alise_gateway.discovery.registry import BackendRegistry
from alise_gateway.domain.request import InferenceRequest, Tenant
from alise_gateway.identity.authenticator import check_model_allowed
from alise_gateway.intake.parse import with_model

_SHOWN_MODEL_CHARS = 128
_FIRST_PROBE_SECONDS = 5.0


def route(inference: InferenceRequest, tenant: Tenant, registry: BackendRegistry) -> str:
    """The served name; puts it into the body where the client used an alias.

    Raises:
        Unauthorized: The tenant may not use the model.
        InvalidRequest: Nobody serves it (404).
        Rejected: No backend has said yet what it serves.
    """
    check_model_allowed(tenant, inference.model)
    served = registry.resolve(inference.model)
    if served is None:
        if not registry.has_catalogue:
            raise Rejected(
                "No backend has been reached yet; please retry.",
                outcome=Outcome.REJECTED_NO_BACKENDS,
                retry_after_seconds=_FIRST_PROBE_SECONDS,
            )
        shown = inference.model[:_SHOWN_MODEL_CHARS]
        raise InvalidRequest(
            f"The model '{shown}' does not exist; /v1/models lists those that do.",
            status=404,
            param="model",
            code="model_not_found",
        )
    if served != inference.model:
        inference.body = with_model(inference.body, served)
    return served
