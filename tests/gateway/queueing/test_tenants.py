"""Tenants' limits: rates over any window, caps, and what is remembered of whom."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.shares import WHOLE, Share
from alise_gateway.domain.drop_reason import DropReason
from alise_gateway.domain.request import Tenant, TenantLimits
from alise_gateway.queueing.tenants import Refusal, TenantBook
from fakes.tickets import tenant

UNLIMITED = tenant()
GAPS = st.lists(st.floats(0, 120), min_size=1, max_size=30)


def limited(
    requests: float | None = None,
    tokens: float | None = None,
    *,
    name: str = "t",
    waiting: int | None = None,
    in_flight: int | None = None,
) -> Tenant:
    return tenant(name, limits=TenantLimits(requests, tokens, waiting, in_flight))


def pass_all(book: TenantBook, who: Tenant, times: int, now: float, tokens: float = 0.0) -> None:
    for _ in range(times):
        assert book.arrive(who, tokens, now) is None


def refused(book: TenantBook, who: Tenant, now: float, tokens: float = 0.0) -> Refusal:
    refusal = book.arrive(who, tokens, now)
    assert refusal is not None
    return refusal


def test_without_limits_everything_passes() -> None:
    pass_all(TenantBook(), UNLIMITED, 1_000, now=5.0, tokens=1e9)


def test_a_minute_of_requests_may_come_at_once_and_then_one_at_a_time() -> None:
    book, who = TenantBook(), limited(requests=30)
    pass_all(book, who, 30, now=100.0)
    refusal = refused(book, who, now=100.5)
    assert refusal.reason is DropReason.REQUEST_RATE
    assert refusal.retry_after_seconds == pytest.approx(1.5)
    pass_all(book, who, 1, now=102.0)
    assert refused(book, who, now=102.0).retry_after_seconds == pytest.approx(2.0)


def test_the_limit_that_lets_through_last_is_named() -> None:
    book, who = TenantBook(), limited(requests=1, tokens=600)
    pass_all(book, who, 1, now=0.0, tokens=600)
    assert refused(book, who, now=30.0, tokens=10).reason is DropReason.REQUEST_RATE
    refusal = refused(book, who, now=30.0, tokens=500)
    assert refusal.reason is DropReason.REQUEST_RATE
    assert refusal.retry_after_seconds == pytest.approx(30.0)
    book.correct(who, 600, now=30.0)
    refusal = refused(book, who, now=30.0, tokens=600)
    assert refusal.reason is DropReason.TOKEN_RATE
    assert refusal.retry_after_seconds == pytest.approx(90.0)


def test_who_is_refused_for_one_limit_pays_nothing_of_the_other() -> None:
    book, who = TenantBook(), limited(requests=2, tokens=100)
    pass_all(book, who, 1, now=0.0, tokens=100)
    for _ in range(50):
        refused(book, who, now=0.0, tokens=100)
    book.correct(who, -100, now=0.0)
    pass_all(book, who, 1, now=0.0, tokens=100)


def test_a_request_beyond_a_minutes_allowance_passes_with_a_full_bucket_and_is_owed() -> None:
    book, who = TenantBook(), limited(tokens=600)
    pass_all(book, who, 1, now=0.0, tokens=6_000)
    refusal = refused(book, who, now=0.0, tokens=100)
    assert refusal.retry_after_seconds == pytest.approx(550.0)
    pass_all(book, who, 1, now=550.0, tokens=100)


@pytest.mark.parametrize("per_minute", [0.01, 0.5, 1.0])
def test_fewer_than_one_request_a_minute_is_a_limit_not_a_ban(per_minute: float) -> None:
    book, who = TenantBook(), limited(requests=per_minute)
    pass_all(book, who, 1, now=0.0)
    wait = refused(book, who, now=0.0).retry_after_seconds
    assert wait == pytest.approx(60 / per_minute)
    refused(book, who, now=wait - 1.0)
    pass_all(book, who, 1, now=wait)


@pytest.mark.slow
@given(GAPS, st.floats(0.2, 20))
def test_no_window_sees_more_requests_than_its_rate_and_one_burst(
    gaps: list[float], per_minute: float
) -> None:
    book, who, now = TenantBook(), limited(requests=per_minute), 50.0
    passed: list[float] = []
    for gap in gaps:
        now += gap
        while book.arrive(who, 0.0, now) is None:
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed), 7):
            window = passed[last] - passed[first]
            most = max(1.0, per_minute) + per_minute * window / 60
            assert last - first + 1 <= most + 1e-6


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(1, 900), st.floats(1, 900)), max_size=60),
    st.floats(10, 1_000),
)
def test_real_tokens_keep_to_the_rate_whatever_was_predicted(
    requests: list[tuple[float, float, float]], per_minute: float
) -> None:
    """Corrections at the end of each request: no lie about lengths gains more than one request."""
    book, who, now, used = TenantBook(), limited(tokens=per_minute), 0.0, 0.0
    for gap, predicted, real in requests:
        now += gap
        if book.arrive(who, predicted, now) is None:
            book.correct(who, real - predicted, now)
            used += real
        assert used <= per_minute + per_minute * now / 60 + 900


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 3_000)), min_size=1, max_size=40),
    st.floats(0.1, 100),
    st.floats(1, 1_000),
)
def test_who_comes_back_when_it_was_told_to_is_let_in(
    arrivals: list[tuple[float, float]], requests: float, tokens: float
) -> None:
    book, who, now = TenantBook(), limited(requests, tokens), 1_000.0
    for gap, amount in arrivals:
        now += gap
        refusal = book.arrive(who, amount, now)
        if refusal is not None:
            assert refusal.retry_after_seconds > 0
            now += refusal.retry_after_seconds
            assert book.arrive(who, amount, now) is None


def test_what_a_full_bucket_gained_before_a_correction_does_not_pay_for_it() -> None:
    book, who = TenantBook(), limited(tokens=600)
    pass_all(book, who, 1, now=0.0, tokens=10)
    book.correct(who, 590, now=60.0)
    assert refused(book, who, now=60.0, tokens=310).retry_after_seconds == pytest.approx(30.0)


def test_tokens_given_back_never_exceed_a_minutes_allowance() -> None:
    book, who = TenantBook(), limited(tokens=600)
    pass_all(book, who, 1, now=0.0, tokens=100)
    book.correct(who, -5_000, now=0.0)
    pass_all(book, who, 1, now=0.0, tokens=600)
    refused(book, who, now=0.0, tokens=1)


def test_a_correction_of_someone_without_that_limit_does_nothing() -> None:
    book = TenantBook()
    book.correct(UNLIMITED, 1e9, now=0.0)
    book.correct(limited(tokens=60, name="new"), 1e9, now=0.0)
    pass_all(book, limited(tokens=60, name="new"), 1, now=0.0, tokens=60)


def test_a_limit_that_changes_holds_at_once() -> None:
    book, who = TenantBook(), limited(requests=100)
    pass_all(book, who, 1, now=0.0)
    tighter = replace(who, limits=TenantLimits(requests_per_minute=2))
    pass_all(book, tighter, 2, now=0.0)
    refused(book, tighter, now=0.0)
    pass_all(book, replace(who, limits=TenantLimits()), 100, now=0.0)


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    book, who = TenantBook(), limited(requests=60, tokens=6_000)
    pass_all(book, who, 60, now=1_000.0)
    refused(book, who, now=10.0)
    refused(book, who, now=900.0)
    pass_all(book, who, 1, now=1_001.0)


def test_places_are_counted() -> None:
    book, who = TenantBook(), limited(waiting=2, in_flight=1)
    for _ in range(2):
        assert book.may_wait(who, 0.0)
        book.waits(who, 1, 0.0)
    assert not book.may_wait(who, 0.0)
    assert book.may_dispatch(who, 0.0)
    book.waits(who, -1, 0.0)
    book.flies(who, 1, 0.0)
    assert (book.may_wait(who, 0.0), book.may_dispatch(who, 0.0)) == (True, False)
    book.check(waiting=1, in_flight=1)
    for waiting, in_flight in ((0, 1), (1, 0)):
        with pytest.raises(AssertionError, match="add up"):
            book.check(waiting, in_flight)


def test_limits_are_each_tenants_own() -> None:
    book = TenantBook()
    pass_all(book, limited(requests=1, name="a"), 1, now=0.0)
    pass_all(book, limited(requests=1, name="b"), 1, now=0.0)


def test_whoever_is_away_is_forgotten_but_for_debts_and_places() -> None:
    book = TenantBook()
    for index in range(100):
        pass_all(book, limited(requests=5, name=f"gone{index}"), 1, now=0.0)
    debtor, waiting = limited(tokens=60, name="debtor"), limited(requests=5, name="waiting")
    pass_all(book, debtor, 1, now=0.0, tokens=6_000)
    book.waits(waiting, 1, now=0.0)
    book.waits(tenant("new"), 1, now=2_000.0)
    assert book._usage.keys() == {"debtor", "waiting", "new"}
    assert refused(book, debtor, now=2_000.0, tokens=60).retry_after_seconds == pytest.approx(4_000)


@pytest.mark.parametrize(("limit", "parts"), [(7, [2, 2, 3]), (3, [1, 1, 1]), (1, [0, 0, 1])])
def test_gateways_divide_who_may_wait(limit: int, parts: list[int]) -> None:
    who = limited(waiting=limit)
    for index, part in enumerate(parts):
        book = TenantBook()
        book.set_share(Share(index, 3))
        for _ in range(part):
            assert book.may_wait(who, 0.0)
            book.waits(who, 1, 0.0)
        assert not book.may_wait(who, 0.0)


@pytest.mark.parametrize(("limit", "parts"), [(7, [2, 2, 3]), (1, [1, 1, 1])])
def test_gateways_divide_what_is_in_flight_but_for_one_each(limit: int, parts: list[int]) -> None:
    who = limited(in_flight=limit)
    for index, part in enumerate(parts):
        book = TenantBook()
        book.set_share(Share(index, 3))
        for _ in range(part):
            assert book.may_dispatch(who, 0.0)
            book.flies(who, 1, 0.0)
        assert not book.may_dispatch(who, 0.0)


def test_gateways_divide_rates_and_have_them_whole_again() -> None:
    book, who = TenantBook(), limited(requests=30, tokens=6_000)
    book.set_share(Share(1, 3))
    pass_all(book, who, 10, now=0.0, tokens=10)
    assert refused(book, who, now=0.0).retry_after_seconds == pytest.approx(6.0)
    book.set_share(WHOLE)
    assert refused(book, who, now=0.0).retry_after_seconds == pytest.approx(2.0)
    pass_all(book, who, 30, now=60.0)


def test_a_rate_below_the_number_of_gateways_holds_in_the_mean() -> None:
    book, who = TenantBook(), limited(requests=1)
    book.set_share(Share(0, 3))
    passed = sum(book.arrive(who, 0.0, now=float(now)) is None for now in range(1, 3_601))
    assert passed == pytest.approx(20, abs=2), "a third of sixty"


def test_who_has_no_limits_shares_none() -> None:
    book = TenantBook()
    book.set_share(Share(0, 9))
    pass_all(book, UNLIMITED, 1_000, now=5.0, tokens=1e9)
    assert book.may_wait(UNLIMITED, 5.0)
    assert book.may_dispatch(UNLIMITED, 5.0)


def test_any_number_of_different_limits_is_remembered_in_bounds() -> None:
    book = TenantBook()
    book.set_share(Share(0, 2))
    for limit in range(2, 3_000):
        who = limited(in_flight=limit, name=str(limit))
        assert book.may_dispatch(who, 0.0)
