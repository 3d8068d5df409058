"""Where prefixes and conversations were last seen: fresh ones count more, memory has a bound."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.units import BackendName
from alise_gateway.domain.affinity import NO_AFFINITY, Affinity
from alise_gateway.placement.affinity import HALF_LIFE_SECONDS, SESSION_SECONDS, AffinityIndex

A, B, C = (BackendName(name) for name in "abc")


def text(words: Sequence[int]) -> tuple[int, ...]:
    """Block hashes as they are: each covers all before it."""
    return tuple(hash(tuple(words[: end + 1])) for end in range(len(words)))


def of(*words: int, session: int | None = None) -> Affinity:
    return Affinity(text(words), session)


_affinities = st.builds(
    lambda words, session: Affinity(text(words), session),
    st.lists(st.integers(0, 1), max_size=6),
    st.none() | st.integers(0, 4),
)
_records = st.lists(
    st.tuples(_affinities, st.sampled_from([A, B, C]), st.floats(0, 100)), max_size=30
)


def test_the_longest_shared_beginning_counts() -> None:
    index = AffinityIndex()
    index.record(of(1, 2, 3, 4), A, 0)
    index.record(of(1, 2, 9), B, 0)
    assert index.shares(of(1, 2, 3, 5), 0) == {A: 0.75, B: 0.5}
    assert index.shares(of(1, 2, 3, 4), 0) == {A: 1.0, B: 0.5}
    assert index.shares(of(2, 1), 0) == {}
    assert index.shares(NO_AFFINITY, 0) == {}


def test_what_was_long_ago_counts_less_and_a_visit_refreshes_what_it_shares() -> None:
    index = AffinityIndex()
    index.record(of(1, 2, 3, 4), A, 0)
    assert index.shares(of(1, 2, 3, 4), HALF_LIFE_SECONDS) == {A: pytest.approx(0.5)}
    index.record(of(1, 2), A, HALF_LIFE_SECONDS)
    assert index.shares(of(1, 2, 3, 4), HALF_LIFE_SECONDS) == {A: pytest.approx(0.75)}


def test_a_clock_that_went_back_does_not_make_more_than_all() -> None:
    index = AffinityIndex()
    index.record(of(1), A, 50)
    assert index.shares(of(1), 0) == {A: 1.0}


def test_a_beginning_that_all_share_is_remembered_for_the_latest_only() -> None:
    index = AffinityIndex()
    for number in range(20):
        index.record(of(1, number), BackendName(f"b{number}"), 0)
    found = index.shares(of(1, 99), 0)
    assert sorted(found) == sorted(f"b{number}" for number in range(12, 20))


def test_the_end_of_a_text_is_forgotten_before_its_beginning() -> None:
    index = AffinityIndex(max_blocks=6)
    index.record(of(1, 2, 3, 4), A, 0)
    index.record(of(5, 6, 7, 8), B, 0)
    assert index.block_count == 6
    assert index.shares(of(1, 2, 3, 4), 0) == {A: 0.5}
    assert index.shares(of(5, 6, 7, 8), 0) == {B: 1.0}


def test_a_text_that_is_used_again_stays() -> None:
    index = AffinityIndex(max_blocks=4)
    index.record(of(1, 2), A, 0)
    index.record(of(3, 4), A, 0)
    index.record(of(1, 2), A, 1)
    index.record(of(5, 6), A, 1)
    assert index.shares(of(1, 2), 1) == {A: 1.0}
    assert index.shares(of(3, 4), 1) == {}


def test_a_text_longer_than_the_memory_keeps_its_beginning() -> None:
    index = AffinityIndex(max_blocks=2)
    index.record(of(1, 2, 3, 4), A, 0)
    assert index.shares(of(1, 2, 3, 4), 0) == {A: 0.5}


def test_a_conversation_stays_where_it_was_for_a_while() -> None:
    index = AffinityIndex()
    index.record(of(session=1), A, 0)
    index.record(of(session=2), A, 0, ttl_seconds=5)
    assert index.session_backend(of(session=1), SESSION_SECONDS - 1) == A
    assert index.session_backend(of(session=1), SESSION_SECONDS) is None
    assert index.session_backend(of(session=2), 4) == A
    assert index.session_backend(of(session=2), 5) is None
    assert index.session_backend(of(session=3), 0) is None
    assert index.session_backend(of(1), 0) is None
    index.record(of(session=1), B, 10)
    assert index.session_backend(of(session=1), SESSION_SECONDS + 9) == B


def test_the_conversation_unused_for_longest_goes_first() -> None:
    index = AffinityIndex(max_sessions=2)
    for session, backend in ((1, A), (2, A), (1, B), (3, A)):
        index.record(of(session=session), backend, 0)
    found = [index.session_backend(of(session=session), 0) for session in (1, 2, 3)]
    assert found == [B, None, A]


def test_a_backend_that_comes_back_starts_with_nothing() -> None:
    index = AffinityIndex()
    index.record(of(1, 2, session=1), A, 0)
    index.record(of(1, 2), B, 0)
    index.forget(A)
    index.forget(C)
    assert index.shares(of(1, 2), 0) == {B: 1.0}
    assert index.session_backend(of(session=1), 0) is None
    index.record(of(1, 3), A, 0)
    assert index.shares(of(1, 2), 0) == {B: 1.0, A: 0.5}


@pytest.mark.slow
@given(_records, _affinities, st.floats(0, 1_000), st.integers(1, 8), st.integers(1, 3))
def test_bounds_hold_and_shares_are_shares(
    records: list[tuple[Affinity, BackendName, float]],
    asked: Affinity,
    now: float,
    max_blocks: int,
    max_sessions: int,
) -> None:
    index = AffinityIndex(max_blocks, max_sessions)
    for affinity, backend, at in records:
        index.record(affinity, backend, at)
        assert index.block_count <= max_blocks
        assert index.session_count <= max_sessions
    assert all(0.0 <= share <= 1.0 for share in index.shares(asked, now).values())


@pytest.mark.slow
@given(_records, _affinities, st.sampled_from([A, B, C]))
def test_nothing_leads_to_a_backend_that_is_gone(
    records: list[tuple[Affinity, BackendName, float]], asked: Affinity, gone: BackendName
) -> None:
    index, without = AffinityIndex(), AffinityIndex()
    for affinity, backend, at in records:
        index.record(affinity, backend, at)
        if backend != gone:
            without.record(affinity, backend, at)
    index.forget(gone)
    assert index.shares(asked, 100) == pytest.approx(without.shares(asked, 100))
    assert index.session_backend(asked, 100) != gone


@pytest.mark.slow
@given(_records, st.lists(st.integers(0, 1), min_size=6, max_size=6), st.integers(0, 6))
def test_who_has_seen_more_has_no_smaller_share(
    records: list[tuple[Affinity, BackendName, float]], words: list[int], shared: int
) -> None:
    less, more = AffinityIndex(), AffinityIndex()
    for affinity, backend, at in records:
        less.record(affinity, backend, at)
        more.record(affinity, backend, at)
    less.record(Affinity(text(words[:shared])), A, 100)
    more.record(Affinity(text(words[: shared + 1])), A, 100)
    asked = Affinity(text(words))
    assert more.shares(asked, 100).get(A, 0.0) >= less.shares(asked, 100).get(A, 0.0) - 1e-12
