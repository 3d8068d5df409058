"""Tickets with known work, for what orders and counts them."""

from collections.abc import Sequence
from dataclasses import dataclass

from alise_core.outcome import Outcome
from alise_core.service_class import ServiceClass
from alise_core.units import TenantId
from alise_gateway.domain.affinity import ToolUse
from alise_gateway.domain.backend import Backend
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.request import ANONYMOUS, NO_LIMITS, Tenant, TenantLimits
from alise_gateway.domain.work import Work
from alise_gateway.queueing.events import Ticket

PREFILL_SECONDS = 0.1
STEP_SECONDS = 0.02


class Nobody:
    """The pure queue never calls its tickets' listeners."""

    def on_dispatched(self, backend: Backend) -> None:
        raise AssertionError("called by the pure queue")

    def on_dropped(self, outcome: Outcome, reason: DropReason, retry_after_seconds: float) -> None:
        raise AssertionError("called by the pure queue")


def tenant(name: str = "t", weight: float = 1.0, limits: TenantLimits = NO_LIMITS) -> Tenant:
    return Tenant(TenantId(name), weight=weight, limits=limits)


def work(*tokens: float, prompt_tokens: float = 0.0) -> Work:
    """Of a request that has one of these output lengths, each as likely as the others."""
    lengths = sorted(tokens)
    held = [
        STEP_SECONDS * n * (prompt_tokens + (n + 1) / 2) + PREFILL_SECONDS * prompt_tokens
        for n in lengths
    ]
    mean = _mean(lengths)
    return Work(
        output_tokens=mean,
        median_tokens=lengths[len(lengths) // 2],
        service_seconds=PREFILL_SECONDS + STEP_SECONDS * mean,
        kv_token_seconds=_mean(held),
        tail_kv_token_seconds=held[-1],
        prefill_seconds=PREFILL_SECONDS,
        step_seconds=STEP_SECONDS,
        atoms=tuple((1.0 / len(lengths), n) for n in lengths),
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and how."""

    tenant: Tenant = ANONYMOUS
    service_class: ServiceClass = ServiceClass.DEFAULT
    flow: str = ""
    tools: ToolUse | None = None


def ticket(
    number: int,
    *tokens: float,
    enqueued: float = 0.0,
    prompt_tokens: float = 0.0,
    asked: Asked = Asked(),
) -> Ticket:
    """One with the work of ``work(*tokens)``; without tokens, of one output token."""
    return Ticket(
        number,
        "m",
        Nobody(),
        enqueued,
        tenant=asked.tenant,
        service_class=asked.service_class,
        flow=asked.flow,
        tools=asked.tools,
        prompt_tokens=prompt_tokens,
        work=work(*(tokens or (1.0,)), prompt_tokens=prompt_tokens),
    )


def anybody(ticket: Ticket) -> bool:
    """For ``may_dispatch``: no tenant is at its limit."""
    del ticket
    return True


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
