"""The book of objects: the last good spec of the same object stays in force, whatever arrives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.crds.book import Change, ObjectBook
from alise_core.crds.names import Kind, ObjectKey
from alise_core.crds.scheduling_policy import SchedulingPolicySpec
from alise_core.crds.validate import SpecInvalid, parse_spec
from fakes.custom_resources import raw_object

GOOD: dict[str, Any] = {"queue": {"maxWaiting": 5}}
BETTER: dict[str, Any] = {"queue": {"maxWaiting": 6}}
BAD: dict[str, Any] = {"queue": {"maxWaiting": -1}}
KEY = ObjectKey("serving", "one")


def raw(spec: object = GOOD, name: str = "one", **metadata: Any) -> dict[str, Any]:
    return raw_object(Kind.SCHEDULING_POLICY, name, spec=spec, **metadata)


def book() -> ObjectBook[SchedulingPolicySpec]:
    return ObjectBook(Kind.SCHEDULING_POLICY)


def max_waiting(change: Change[SchedulingPolicySpec]) -> int | None:
    return change.after.spec.queue.max_waiting if change.after and change.after.spec else None


def test_a_good_spec_is_in_force_at_once() -> None:
    change = book().put(raw())

    assert max_waiting(change) == 5
    assert change.spec_changed
    assert change.after is not None
    assert change.after.problems == ()
    assert change.after.key == KEY
    assert str(change.after.key) == "serving/one"


def test_a_bad_spec_leaves_the_last_good_one_in_force_and_says_why() -> None:
    held = book()
    held.put(raw())
    change = held.put(raw(BAD, generation=2))

    assert max_waiting(change) == 5
    assert not change.spec_changed
    assert change.after is not None
    assert change.after.generation == 2
    assert "spec.queue.maxWaiting: Invalid value: -1" in change.after.problems[0]


def test_a_spec_that_is_good_again_has_no_problems() -> None:
    held = book()
    for spec in (GOOD, BAD, BETTER):
        change = held.put(raw(spec))

    assert max_waiting(change) == 6
    assert change.after is not None
    assert change.after.problems == ()


def test_an_object_that_never_was_good_has_no_spec() -> None:
    change = book().put(raw(BAD))

    assert change.after is not None
    assert change.after.spec is None
    assert not change.spec_changed


def test_another_object_of_the_same_name_does_not_inherit() -> None:
    held = book()
    held.put(raw(uid="first"))
    change = held.put(raw(BAD, uid="second"))

    assert max_waiting(change) is None
    assert change.spec_changed


def test_a_relist_keeps_the_last_good_spec_and_drops_what_is_gone() -> None:
    held = book()
    held.replace_all([raw(), raw(name="two")])
    changes = held.replace_all([raw(BAD)])

    assert [item.name for item in held.items()] == ["one"]
    assert held.items()[0].spec == parse_spec(Kind.SCHEDULING_POLICY, GOOD)
    assert [(item.before is not None, item.after is not None) for item in changes] == [
        (True, False),
        (True, True),
    ]


@pytest.mark.parametrize("which", [KEY, "uid-one", raw()], ids=["key", "uid", "raw object"])
def test_an_object_can_be_removed_by_whatever_names_it(which: object) -> None:
    held = book()
    held.put(raw())
    change = held.remove(which)

    assert change.before is not None
    assert change.after is None
    assert change.spec_changed
    assert len(held) == 0


def test_what_the_book_does_not_hold_is_removed_without_effect() -> None:
    assert book().remove(KEY) == Change()


def test_metadata_and_status_are_kept_as_far_as_they_are_sound() -> None:
    item = (
        book()
        .put(
            {
                **raw(
                    annotations={"alise.dev/paused": "true", "n": 1},
                    labels=7,
                    deletionTimestamp="2026-01-02T00:00:00Z",
                    generation="3",
                ),
                "status": {"conditions": [{"type": "Accepted"}, 4]},
            }
        )
        .after
    )

    assert item is not None
    assert item.annotations == {"alise.dev/paused": "true"}
    assert item.labels == {}
    assert item.deleted
    assert item.generation == 0
    assert item.conditions == ({"type": "Accepted"},)
    assert book().put(raw()).after != item


@pytest.mark.parametrize(
    "garbage", [None, 1, [], {}, {"metadata": 3}, {"metadata": {"name": 5}}, {"metadata": {}}]
)
def test_what_has_no_name_is_ignored(garbage: object) -> None:
    held = book()

    assert held.put(garbage).problem
    assert len(held) == 0
    assert held.remove(garbage) == Change()


_specs = st.sampled_from([GOOD, BETTER, BAD, None, 3, {"unknown": 1}])
_raws = st.builds(
    raw, _specs, name=st.sampled_from("ab"), uid=st.sampled_from(["1", "2"])
) | st.sampled_from([{}, {"metadata": {"name": "a", "namespace": "serving"}}, None])
_events = st.lists(
    st.tuples(st.just("put"), _raws)
    | st.tuples(st.just("remove"), _raws)
    | st.tuples(st.just("replace"), st.lists(_raws, max_size=3)),
    max_size=12,
)


@given(_events)
def test_the_spec_in_force_is_the_last_good_one_of_the_same_object(
    events: list[tuple[str, Any]],
) -> None:
    held = book()
    truth: dict[ObjectKey, tuple[str, object]] = {}
    for event, what in events:
        if event == "put":
            held.put(what)
        elif event == "remove":
            held.remove(what)
        else:
            held.replace_all(what)
        _follow(truth, event, what)
    assert {item.key: (item.uid, item.spec) for item in held.items()} == truth


def _follow(truth: dict[ObjectKey, tuple[str, object]], event: str, what: Any) -> None:
    named = [each for each in (what if event == "replace" else [what]) if each]
    keys = [ObjectKey("serving", each["metadata"]["name"]) for each in named]
    if event == "remove":
        for key in keys:
            truth.pop(key, None)
        return
    if event == "replace":
        for key in set(truth) - set(keys):
            del truth[key]
    for key, each in zip(keys, named, strict=True):
        uid = each["metadata"].get("uid", "")
        kept = truth.get(key)
        try:
            spec: object = parse_spec(Kind.SCHEDULING_POLICY, each.get("spec"))
        except SpecInvalid:
            spec = kept[1] if kept and kept[0] == uid else None
        truth[key] = (uid, spec)
