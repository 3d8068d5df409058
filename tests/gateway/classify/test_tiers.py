"""Which class, flow and deadline a request has, and who may choose them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import InvalidRequest
from alise_core.service_class import SERVICE_TIERS, ServiceClass
from alise_core.units import ModelName, TenantId
from alise_core.wire.openai import Endpoint
from alise_gateway.classify.tiers import Classified, classify, priority_field
from alise_gateway.domain.request import InferenceRequest, RawHeaders, Tenant

CLASSES = list(ServiceClass)
TIERS = sorted(SERVICE_TIERS)
OBJECTIVES = {"urgent": 10, "usual": 0, "bulk": -1}
OBJECTIVE_NAMES = [b"x-llm-d-inference-objective", b"x-gateway-inference-objective"]
FLOW_NAMES = [b"x-llm-d-inference-fairness-id", b"x-gateway-inference-fairness-id"]
SLO_NAMES = [b"x-alise-slo-ttft-ms", b"x-llm-d-slo-ttft-ms", b"x-slo-ttft-ms"]
TIER_ENDPOINTS = [Endpoint.CHAT_COMPLETIONS, Endpoint.COMPLETIONS, Endpoint.RESPONSES]


def tenant(
    default: ServiceClass = ServiceClass.DEFAULT,
    highest: ServiceClass = ServiceClass.PRIORITY,
    *,
    trusted: bool = False,
) -> Tenant:
    return Tenant(TenantId("t"), may_schedule=trusted, default_class=default, highest_class=highest)


def asked(
    tier: str | None = None,
    endpoint: Endpoint = Endpoint.CHAT_COMPLETIONS,
    *,
    priority: bool = False,
) -> InferenceRequest:
    return InferenceRequest(
        endpoint, ModelName("m"), False, None, b"{}", client_priority=priority, service_tier=tier
    )


def classified(
    who: Tenant, request: InferenceRequest | None = None, headers: RawHeaders | None = None
) -> Classified:
    return classify(who, request or asked(), headers or [], OBJECTIVES)


def refusal(request: InferenceRequest, headers: RawHeaders | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        classified(tenant(), request, headers)
    return caught.value


# The tier in the body


@pytest.mark.parametrize("default", CLASSES)
@pytest.mark.parametrize("tier", [*TIERS, None])
def test_the_tier_chooses_the_class(tier: str | None, default: ServiceClass) -> None:
    found = classified(tenant(default), asked(tier))
    assert found.service_class == (default if tier in (None, "auto") else tier)


@pytest.mark.parametrize("highest", CLASSES)
@pytest.mark.parametrize("tier", [*TIERS, None])
def test_no_request_is_served_above_its_tenants_highest_class(
    tier: str | None, highest: ServiceClass
) -> None:
    for default in CLASSES:
        assert classified(tenant(default, highest), asked(tier)).service_class.rank >= highest.rank


@pytest.mark.parametrize("endpoint", TIER_ENDPOINTS)
def test_the_answer_states_the_tier_that_was_used(endpoint: Endpoint) -> None:
    who = tenant(ServiceClass.FLEX, ServiceClass.SCALE)
    assert classified(who, asked("priority", endpoint)).tier_echo == "scale"
    assert classified(who, asked("auto", endpoint)).tier_echo == "flex"
    assert classified(tenant(ServiceClass.BATCH), asked("auto", endpoint)).tier_echo == "flex"


def test_nobody_is_told_who_did_not_ask_or_has_no_field_for_it() -> None:
    assert classified(tenant(), asked(None)).tier_echo is None
    for endpoint in set(Endpoint) - set(TIER_ENDPOINTS):
        assert classified(tenant(), asked("flex", endpoint)).tier_echo is None


@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize("tier", ["", "Flex", "batch", "t" * 1000])
def test_an_unknown_tier_is_refused(tier: str, endpoint: Endpoint) -> None:
    error = refusal(asked(tier, endpoint))
    assert (error.status, error.code, error.param) == (
        400,
        "invalid_service_tier",
        "service_tier",
    )
    assert f"'{tier[:64]}'" in error.message
    assert all(allowed in error.message for allowed in TIERS)
    assert ("standard_only" in error.message) == (endpoint is Endpoint.MESSAGES)
    assert len(error.message) < 200


@pytest.mark.parametrize("default", CLASSES)
def test_anthropics_standard_only_gives_up_better_service(default: ServiceClass) -> None:
    found = classified(tenant(default), asked("standard_only", Endpoint.MESSAGES))
    assert found.service_class is default.clamped(ServiceClass.DEFAULT)
    assert refusal(asked("standard_only")).param == "service_tier"


# Objectives


@pytest.mark.parametrize("name", OBJECTIVE_NAMES)
@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (b"urgent", ServiceClass.PRIORITY),
        (b"usual", ServiceClass.SCALE),
        (b"bulk", ServiceClass.BATCH),
    ],
)
def test_an_objective_of_a_trusted_tenant_wins_over_the_tier(
    name: bytes, objective: bytes, expected: ServiceClass
) -> None:
    trusted = tenant(ServiceClass.SCALE, trusted=True)
    found = classified(trusted, asked("flex"), [(name, objective)])
    assert found.service_class is expected
    assert found.tier_echo == expected.tier


@pytest.mark.parametrize("objective", [b"unheard-of", b"", b"\xff", b"Urgent"])
def test_an_objective_that_nobody_declared_is_as_good_as_none(objective: bytes) -> None:
    trusted = tenant(ServiceClass.SCALE, trusted=True)
    headers = [(OBJECTIVE_NAMES[0], objective)]
    assert classified(trusted, asked(), headers).service_class is ServiceClass.SCALE
    assert classified(trusted, asked("flex"), headers).service_class is ServiceClass.FLEX


@pytest.mark.parametrize("highest", CLASSES)
def test_an_objective_is_bounded_as_well(highest: ServiceClass) -> None:
    trusted = tenant(ServiceClass.DEFAULT, highest, trusted=True)
    found = classified(trusted, asked(), [(OBJECTIVE_NAMES[0], b"urgent")])
    assert found.service_class is highest


def test_the_new_name_wins_over_the_old_one_and_the_first_field_over_the_second() -> None:
    trusted = tenant(trusted=True)
    old, new = (OBJECTIVE_NAMES[1], b"bulk"), (OBJECTIVE_NAMES[0], b"urgent")
    second = (OBJECTIVE_NAMES[0], b"bulk")
    found = classified(trusted, asked(), [old, new, second])
    assert found.service_class is ServiceClass.PRIORITY


def test_nobody_else_may_schedule() -> None:
    headers = [
        *[(name, b"urgent") for name in OBJECTIVE_NAMES],
        *[(name, b"flow") for name in FLOW_NAMES],
        (b"x-vllm-priority", b"-5"),
    ]
    found = classified(tenant(), asked(priority=True), headers)
    assert found == Classified(ServiceClass.DEFAULT)


# Flows


@pytest.mark.parametrize("name", FLOW_NAMES)
@pytest.mark.parametrize(
    ("value", "flow"),
    [
        (b"customer 7", "customer 7"),
        (b"f" * 128, "f" * 128),
        (b"f" * 129, ""),
        (b"a\tb", ""),
        (b"\x7f", ""),
        ("käse".encode(), ""),
        (b"", ""),
    ],
)
def test_a_flow_can_be_shown_and_kept(name: bytes, value: bytes, flow: str) -> None:
    assert classified(tenant(trusted=True), asked(), [(name, value)]).flow == flow


# Deadlines


@pytest.mark.parametrize("name", SLO_NAMES)
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"500", 0.5), (b"0.5", 0.0005), (b"3600000", 3600), (b"007", 0.007), (b"1500.25", 1.50025)],
)
def test_anybody_may_state_a_deadline(
    name: bytes, trusted: bool, value: bytes, seconds: float
) -> None:
    found = classified(tenant(trusted=trusted), asked(), [(name, value)])
    assert found.slo_ttft_seconds == pytest.approx(seconds)


def test_the_gateways_own_deadline_wins_over_others() -> None:
    headers = [(name, b"%d" % (index + 1)) for index, name in enumerate(SLO_NAMES)]
    assert classified(tenant(), asked(), headers[::-1]).slo_ttft_seconds == 0.001
    assert classified(tenant(), asked(), headers[:0:-1]).slo_ttft_seconds == 0.002
    assert classified(tenant()).slo_ttft_seconds is None


@pytest.mark.parametrize("name", SLO_NAMES)
@pytest.mark.parametrize(
    "value",
    [b"0", b"0.0", b"-1", b"", b"soon", b"nan", b"inf", b"1e3", b"1_0", b"3600000.1", b"9" * 300,
     b"\xff", "٣".encode()],
)  # fmt: skip
def test_a_deadline_that_is_none_is_refused(name: bytes, value: bytes) -> None:
    error = refusal(asked(), [(name, value)])
    assert (error.status, error.code, error.param) == (400, "invalid_slo", name.decode())
    assert name.decode() in error.message
    assert len(error.message) < 250


@given(st.binary(max_size=12))
def test_no_deadline_is_out_of_range(value: bytes) -> None:
    try:
        found = classified(tenant(), asked(), [(SLO_NAMES[0], value)])
    except InvalidRequest:
        return
    assert found.slo_ttft_seconds is not None
    assert 0 < found.slo_ttft_seconds <= 3600


# The engine's priority


def test_a_trusted_tenants_own_priority_stays() -> None:
    trusted = tenant(trusted=True)
    header = [(b"x-vllm-priority", b"-5")]
    assert classified(trusted, asked(), header).keeps_priority
    assert classified(trusted, asked(priority=True)).keeps_priority
    assert not classified(trusted).keeps_priority


_ranks = st.integers() | st.integers(-(2**41), 2**41) | st.integers(0, 100)


@given(st.sampled_from(CLASSES), _ranks, st.sampled_from(CLASSES), _ranks)
def test_classes_never_overlap_and_ranks_keep_their_order(
    one: ServiceClass, one_rank: int, other: ServiceClass, other_rank: int
) -> None:
    first, second = int(priority_field(one, one_rank)), int(priority_field(other, other_rank))
    assert -(2**63) <= first < 2**63
    if one.rank < other.rank:
        assert first < second
    elif one is other and one_rank <= other_rank:
        assert first <= second


@given(st.sampled_from(CLASSES), st.integers(0, 2**40 - 1))
def test_ranks_within_a_band_stay_distinct(item: ServiceClass, rank: int) -> None:
    assert int(priority_field(item, rank)) - int(priority_field(item, 0)) == rank


def test_a_request_that_states_nothing_to_the_engine_is_in_the_default_class() -> None:
    assert priority_field(ServiceClass.DEFAULT, 0) == b"0"
    assert int(priority_field(ServiceClass.SCALE, 2**70)) < 0
