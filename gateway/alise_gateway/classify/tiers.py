"""In which class a request waits, and by when its first token is wanted. Pure.

In: the tenant, the body's ``service_tier`` and header fields. Out: a ``Classified``. What decides:

1. An inference objective in a header, which llm-d's infrastructure sets; only of tenants that
   ``may_schedule``. It wins over the body, because whoever may set it stands above the client. One
   that nobody declared is as good as none (llm-d gives it priority 0).
2. ``service_tier`` in the body.
3. The tenant's default class.

Whatever is asked for, the tenant's highest class bounds it. A deadline is anybody's to state: it
only lets the gateway refuse earlier.

Source: llm-d-router, headers ``x-llm-d-inference-objective``, ``x-llm-d-inference-fairness-id``
and ``x-llm-d-slo-ttft-ms`` and their older names; Anthropic Messages API, ``service_tier``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from alise_core.errors import InvalidRequest
from alise_core.service_class import (
    SERVICE_TIERS,
    ServiceClass,
    class_of_objective,
    class_of_tier,
)
from alise_core.wire import headers as names
from alise_core.wire.openai import Endpoint
from alise_gateway.domain.request import InferenceRequest, RawHeaders, Tenant

_STANDARD_ONLY = "standard_only"
"""Anthropic's: whatever the tenant's default, nothing better than ordinary service."""
_STATES_TIER = frozenset({Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS, Endpoint.RESPONSES})
"""Endpoints whose answers have a ``service_tier`` beside the request's."""
_SHOWN_CHARS = 64
_MAX_FLOW_CHARS = 128
_MAX_SLO_MS = 3_600_000
"""No request waits an hour for its first token: a larger number is a wrong unit."""
_MILLISECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")
_BAND_WIDTH = 2**40
"""Room for any rank inside a class; all bands together stay far inside an int64."""
_READ = frozenset(
    {
        *names.INFERENCE_OBJECTIVE_NAMES,
        *names.FAIRNESS_ID_NAMES,
        *names.SLO_TTFT_NAMES,
        names.VLLM_PRIORITY,
    }
)

_Found = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Classified:
    """What scheduling knows of a request besides its length.

    Attributes:
        service_class: In which it waits.
        tier_echo: The tier that its answer states; ``None`` where the request did not ask for one
            or its API has no place for it.
        flow: Its fairness id within the tenant; empty for none.
        slo_ttft_seconds: Longest TTFT that is of use; ``None`` where nobody said.
        keeps_priority: It brings a vLLM priority of its own that its tenant may set.
    """

    service_class: ServiceClass
    tier_echo: str | None = None
    flow: str = ""
    slo_ttft_seconds: float | None = None
    keeps_priority: bool = False


def classify(
    tenant: Tenant,
    request: InferenceRequest,
    headers: RawHeaders,
    objectives: Mapping[str, int],
) -> Classified:
    """Class, flow and deadline of a request.

    Args:
        tenant: Who pays for it.
        request: As intake understood it.
        headers: All of its header fields; of several with one name the first counts.
        objectives: Priority of each declared inference objective; higher is more important.

    Raises:
        InvalidRequest: ``service_tier`` or the deadline is not one; names field, value, remedy.
    """
    _check_tier(request)
    found = {name: value for name, value in reversed(headers) if name in _READ}
    wanted = _of_objective(tenant, found, objectives) if tenant.may_schedule else None
    if wanted is None:
        wanted = _of_tier(request.service_tier, tenant.default_class)
    service_class = wanted.clamped(tenant.highest_class)
    echoes = request.service_tier is not None and request.endpoint in _STATES_TIER
    return Classified(
        service_class,
        tier_echo=service_class.tier if echoes else None,
        flow=_flow(found) if tenant.may_schedule else "",
        slo_ttft_seconds=_slo_ttft_seconds(found),
        keeps_priority=tenant.may_schedule
        and (request.client_priority or names.VLLM_PRIORITY in found),
    )


def priority_field(service_class: ServiceClass, rank: int) -> bytes:
    """Value of ``X-Vllm-Priority``: an int64, lower is earlier.

    Args:
        service_class: No rank leads out of its band.
        rank: Order within the class, from 0; cut off at the band's ends.

    The default class begins at 0, which is what vLLM takes of requests that state nothing because
    they did not come through the gateway: better classes go before those, worse ones behind.
    """
    band = (service_class.rank - ServiceClass.DEFAULT.rank) * _BAND_WIDTH
    return b"%d" % (band + min(max(rank, 0), _BAND_WIDTH - 1))


def _check_tier(request: InferenceRequest) -> None:
    tier = request.service_tier
    if tier is None or tier in SERVICE_TIERS:
        return
    allowed = sorted(SERVICE_TIERS)
    if request.endpoint is Endpoint.MESSAGES:
        if tier == _STANDARD_ONLY:
            return
        allowed.append(_STANDARD_ONLY)
    raise InvalidRequest(
        f"'service_tier' is '{tier[:_SHOWN_CHARS]}'; it must be one of {', '.join(allowed)}.",
        param="service_tier",
        code="invalid_service_tier",
    )


def _of_tier(tier: str | None, default: ServiceClass) -> ServiceClass:
    if tier == _STANDARD_ONLY:
        return default.clamped(ServiceClass.DEFAULT)
    return class_of_tier(tier, default)


def _of_objective(
    tenant: Tenant, found: _Found, objectives: Mapping[str, int]
) -> ServiceClass | None:
    name = _first(found, names.INFERENCE_OBJECTIVE_NAMES)
    priority = None if name is None else objectives.get(name.decode(errors="replace"))
    return None if priority is None else class_of_objective(priority, tenant.default_class)


def _flow(found: _Found) -> str:
    """An id that nothing could show, or that is too long to keep, is as good as none."""
    value = _first(found, names.FAIRNESS_ID_NAMES) or b""
    flow = value.decode() if value.isascii() else ""
    return flow if flow.isprintable() and len(flow) <= _MAX_FLOW_CHARS else ""


def _slo_ttft_seconds(found: _Found) -> float | None:
    for name in names.SLO_TTFT_NAMES:
        value = found.get(name)
        if value is not None:
            return _milliseconds(name, value) / 1000
    return None


def _milliseconds(name: bytes, value: bytes) -> float:
    milliseconds = float(value) if _MILLISECONDS.fullmatch(value) else 0.0
    if 0 < milliseconds <= _MAX_SLO_MS:
        return milliseconds
    shown = value[:_SHOWN_CHARS].decode(errors="replace")
    raise InvalidRequest(
        f"The header {name.decode()} is '{shown}'; it must be a number of milliseconds above 0 "
        f"and up to {_MAX_SLO_MS}.",
        param=name.decode(),
        code="invalid_slo",
    )


def _first(found: _Found, wanted: tuple[bytes, ...]) -> bytes | None:
    return next((found[name] for name in wanted if name in found), None)
