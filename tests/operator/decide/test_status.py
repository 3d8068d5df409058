from hypothesis import given
from hypothesis import strategies as st

from alise_operator.decide.status import difference

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=6,
)


def merged(target: object, patch: object) -> object:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return value


def test_nothing_to_write_where_all_is_as_it_should_be() -> None:
    assert difference({"a": 1, "b": None}, {"a": 1, "mine": 2}) == {}


def test_only_fields_that_differ_are_written() -> None:
    assert difference({"a": 1, "b": 2, "c": None}, {"a": 1, "b": 1, "c": 3}) == {"b": 2, "c": None}


def test_inner_fields_that_are_not_wanted_are_taken_away() -> None:
    assert difference({"a": {"x": 1}}, {"a": {"x": 1, "y": 2}}) == {"a": {"x": 1, "y": None}}


@given(
    st.dictionaries(st.sampled_from("pqr"), JSON),
    st.dictionaries(st.sampled_from("pqrs"), JSON),
)
def test_writing_the_difference_leads_to_what_is_wanted(
    wanted: dict[str, object], standing: dict[str, object]
) -> None:
    stored = without_nulls(standing)  # as an API server keeps it
    assert isinstance(stored, dict)

    after = merged(stored, difference(wanted, stored))

    expected = {n: v for n, v in stored.items() if n not in wanted}
    expected |= {n: without_nulls(v) for n, v in wanted.items() if v is not None}
    assert after == expected
    assert difference(wanted, after) == {} or wanted != without_nulls(wanted)
