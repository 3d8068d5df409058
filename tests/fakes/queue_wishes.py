"""What a queue may be asked to do: requests, policies and engines' claims, for hypothesis."""

from dataclasses import dataclass
from functools import partial
from math import log1p

from hypothesis import strategies as st

from alise_core.policy import (
    AdmissionPolicy,
    ClassLimits,
    FairnessPolicy,
    OrderingName,
    OrderingPolicy,
    SchedulingPolicy,
)
from alise_core.prediction import LEVELS, LengthDistribution
from alise_core.service_class import ServiceClass
from alise_core.units import TenantId
from alise_gateway.domain.affinity import Affinity, ToolUse
from alise_gateway.domain.backend import ProbeState
from alise_gateway.domain.breaker import BreakerLimits
from alise_gateway.domain.engine_figures import EngineFigures
from alise_gateway.domain.request import Tenant, TenantLimits
from alise_gateway.queueing.events import (
    Ticket,
)
from fakes.tickets import Nobody

MODELS = ("a", "b", "c")
SERVES = (("a",), ("a", "b"), ("b", "c"), ("c",))
PROBES = (*[ProbeState.HEALTHY] * 6, *ProbeState)
BREAKER = BreakerLimits(failures=2, open_seconds=5, max_open_seconds=20)
ADMISSION = AdmissionPolicy(0.7, 0.9, 0.25, 2, 10.0)
NO_GUARD = 1e9
CLOCK_SLACK_SECONDS = 0.1
"""More than all backward jumps of one run together."""

TENANTS = (
    Tenant(TenantId("free")),
    Tenant(TenantId("heavy"), weight=3.0),
    Tenant(TenantId("narrow"), limits=TenantLimits(max_waiting=3, max_in_flight=1)),
    Tenant(TenantId("slow"), limits=TenantLimits(6.0, 2_000.0, None, None)),
)


def known(tokens: float, highest: float = 10_000.0) -> LengthDistribution:
    return LengthDistribution.of([log1p(tokens)] * len(LEVELS), 0, highest, None)


predictions = (
    st.none()
    | st.sampled_from([1.0, 50.0, 3_000.0]).map(known)
    | st.lists(st.floats(-5, 40), min_size=len(LEVELS), max_size=len(LEVELS)).map(
        lambda logs: LengthDistribution.of(logs, 0, 1e12, None)
    )
)


@dataclass(frozen=True)
class Wish:
    """What a client asks for."""

    model: str
    tenant: Tenant
    service_class: ServiceClass
    flow: str
    prompt_tokens: float
    prediction: LengthDistribution | None
    allowed_seconds: float | None
    affinity: Affinity
    tools: ToolUse | None

    def ticket(self, number: int, now: float) -> Ticket:
        return Ticket(
            number,
            self.model,
            Nobody(),
            now,
            tenant=self.tenant,
            service_class=self.service_class,
            flow=self.flow,
            prompt_tokens=self.prompt_tokens,
            prediction=self.prediction,
            deadline=None if self.allowed_seconds is None else now + self.allowed_seconds,
            affinity=self.affinity,
            tools=self.tools,
        )


wishes = st.builds(
    Wish,
    st.sampled_from(MODELS),
    st.sampled_from([*TENANTS, *TENANTS[:2]]),
    st.sampled_from(ServiceClass),
    st.sampled_from(["", "", "agent"]),
    st.sampled_from([0.0, 10.0, 10.0, 400.0, 900.0, 1e7]),
    predictions,
    st.sampled_from([None, None, None, None, None, -1.0, 0.5, 5.0, 50.0]),
    st.sampled_from([Affinity(), Affinity((1, 2, 3), 7), Affinity((1, 2, 9))]),
    st.sampled_from([None, ToolUse(3.0, 100.0, True), ToolUse(1e6, 1e9, False)]),
)

figures = st.builds(
    partial(EngineFigures, cache_dtype="auto"),
    at=st.sampled_from([0.0, 0.0, -1.0, -100.0, 50.0]),
    capacity_tokens=st.sampled_from([None, None, 0, -7, 60, 1_000, 10**9]),
    usage_ratio=st.sampled_from([None, 0.0, 0.5, 1.0, -3.0, 1e9]),
    running=st.sampled_from([None, 0, 1, 3, 10**9]),
    waiting=st.sampled_from([None, 0, 0, 1, 5, 10**9]),
    preemptions=st.sampled_from([None, 0.0, 5.0, 1e12]),
    finished=st.sampled_from([None, 0.0, 10.0, 1e12]),
)

capacities = st.sampled_from([None, None, 0, 50, 1_000, 5_000])

class_limits = st.builds(
    ClassLimits,
    st.sampled_from([None, None, None, None, 0, 2]),
    st.sampled_from([20.0, 60.0, 300.0]),
    st.sampled_from([0.0, 0.0, 0.3]),
)
policies = st.builds(
    SchedulingPolicy,
    max_waiting=st.sampled_from([12, 6, 3, 0]),
    classes=st.fixed_dictionaries(dict.fromkeys(ServiceClass, class_limits)),
    ordering=st.builds(
        OrderingPolicy,
        st.sampled_from(OrderingName),
        aging_half_life_seconds=st.sampled_from([None, 10.0]),
        guard_seconds=st.sampled_from([30.0, NO_GUARD]),
        guard_factor=st.just(10.0),
    ),
    fairness=st.builds(FairnessPolicy, st.sampled_from([True, True, False])),
    admission=st.sampled_from([ADMISSION, ADMISSION, AdmissionPolicy(0.4, 0.6, 0.25, 0, 5.0)]),
    backfill=st.sampled_from([0, 1, 4]),
)
