"""Whatever comes in which order, the differences told lead from one state to the next."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_cluster.cache import Change, ChangeKind, ObjectCache
from alise_cluster.lines import MOST_LINE_BYTES, JsonLines
from alise_cluster.resources import RawObject
from alise_core.crds.names import ObjectKey
from alise_core.errors import WireError

OBJECTS = st.builds(
    lambda name, uid, version: {
        "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": version}
    },
    st.sampled_from("abc"),
    st.sampled_from(["u1", "u2"]),
    st.sampled_from(["1", "2"]),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]), OBJECTS)
    | st.lists(OBJECTS, max_size=3, unique_by=lambda raw: raw["metadata"]["name"]),
    max_size=12,
)


def follow(state: dict[ObjectKey, RawObject], changes: list[Change]) -> None:
    for change in changes:
        match change.kind:
            case ChangeKind.ADDED:
                assert change.key not in state
                state[change.key] = change.object
            case ChangeKind.MODIFIED:
                assert state[change.key] == change.before != change.object
                state[change.key] = change.object
            case ChangeKind.DELETED:
                assert state.pop(change.key) == change.before


@given(steps=STEPS)
def test_differences_lead_from_one_state_to_the_next(
    steps: list[tuple[str, RawObject] | list[RawObject]],
) -> None:
    cache = ObjectCache()
    state: dict[ObjectKey, RawObject] = {}
    for step in steps:
        if isinstance(step, list):
            follow(state, cache.replace(cache.trimmed(step)))
            assert list(cache.objects.values()) == step or len(step) > 1
        else:
            follow(state, cache.apply(*step))
        assert state == cache.objects


@given(st.lists(st.dictionaries(st.text(), st.integers(), max_size=2), max_size=5), st.data())
def test_lines_are_put_together_however_they_are_cut(
    objects: list[RawObject], data: st.DataObject
) -> None:
    text = b"".join(json.dumps(item).encode() + b"\n" for item in objects)
    lines, found = JsonLines(), list[RawObject]()
    while text:
        size = data.draw(st.integers(1, len(text)))
        found += lines.feed(text[:size])
        text = text[size:]
    lines.end()

    assert found == objects


@pytest.mark.parametrize("text", [b"{\n", b"[]\n", b"\xff\n"])
def test_a_line_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(WireError):
        JsonLines().feed(text)


def test_a_line_has_an_end() -> None:
    lines = JsonLines()
    with pytest.raises(WireError, match="a line of more than"):
        lines.feed(b" " * (MOST_LINE_BYTES + 1))
    cut = JsonLines()
    cut.feed(b"{")
    with pytest.raises(WireError, match="middle of a line"):
        cut.end()
