"""What several gateways divide adds up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.shares import WHOLE, Share, share_of


@given(st.integers(0, 10**12), st.integers(1, 500))
def test_parts_add_up_and_are_equal(budget: int, count: int) -> None:
    parts = [share_of(budget, index, count) for index in range(count)]
    assert sum(parts) == budget
    assert max(parts) - min(parts) <= 1


@pytest.mark.parametrize(("budget", "index", "count"), [(-1, 0, 1), (1, -1, 2), (1, 2, 2)])
def test_no_such_part(budget: int, index: int, count: int) -> None:
    with pytest.raises(ValueError, match="no part"):
        share_of(budget, index, count)


@pytest.mark.parametrize(("index", "count"), [(0, 0), (-1, 2), (2, 2)])
def test_no_such_share(index: int, count: int) -> None:
    with pytest.raises(ValueError, match="no part"):
        Share(index, count)


def test_who_is_alone_has_it_all() -> None:
    assert WHOLE.is_whole
    assert WHOLE.of(7) == 7
    assert [Share(index, 3).of(7) for index in range(3)] == [2, 2, 3]
    assert not Share(1, 3).is_whole
