"""The panel against a naive model of parts that take some changes and refuse others."""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from alise_core.errors import ConfigError
from alise_vllm.control.panel import Panel, Refused, fit_json
from alise_vllm.tunable import Json

LIMITS = {"margin": 10, "margin_max": 100, "depth": 3}


class Part:
    """Takes whole numbers from 0 to a limit for each key."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, Json] = dict.fromkeys(LIMITS, 0)

    def state(self) -> Mapping[str, Json]:
        return self.values

    def plan(self, changes: Mapping[str, object]) -> Callable[[], Mapping[str, Json]]:
        for key, value in changes.items():
            if key not in LIMITS:
                raise ConfigError(f"{key!r} is unknown; there are {sorted(LIMITS)}")
            if type(value) is not int or not 0 <= value <= LIMITS[key]:
                raise ConfigError(f"{key!r} is {value!r}; it must be from 0 to {LIMITS[key]}")

        def apply() -> Mapping[str, Json]:
            before = dict(self.values)
            self.values.update(changes)
            return {key: [before[key], value] for key, value in changes.items()}

        return apply


class Broken:
    """Fails at everything, not as agreed."""

    name = "broken"

    def state(self) -> Mapping[str, Json]:
        raise RuntimeError("lost")

    def plan(self, changes: Mapping[str, object]) -> Callable[[], Mapping[str, Json]]:
        raise KeyError(changes["x"])


names = st.sampled_from(["a", "b", "c"])
keys = st.sampled_from([*LIMITS, "unknown"])
values: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 12), st.sampled_from([None, "3", 1.0, float("nan"), True, []])
)
shares = st.one_of(st.dictionaries(keys, values, max_size=3), values)
all_changes = st.one_of(st.dictionaries(names, shares, max_size=3), values)


class PanelMachine(RuleBasedStateMachine):
    """All changes of a request or none, and the answer is the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [Part("a"), Part("b")]
        self.panel = Panel(self.parts)
        self.model = {part.name: dict(part.values) for part in self.parts}

    @rule(changes=all_changes)
    def tune(self, changes: Any) -> None:
        before = copy.deepcopy(self.model)
        if not takes(changes):
            with pytest.raises(Refused) as caught:
                self.panel.plan(changes)
            param = caught.value.param
            assert param is None or param.partition(".")[0] in changes
            return
        changed = self.panel.plan(changes)()
        for name, share in changes.items():
            self.model[name].update(share)
        assert changed == {
            name: {key: [before[name][key], value] for key, value in share.items()}
            for name, share in changes.items()
        }

    @rule(changes=all_changes)
    def only_plan(self, changes: Any) -> None:
        if takes(changes):
            self.panel.plan(changes)

    @invariant()
    def state_is_the_models(self) -> None:
        assert self.panel.state() == self.model


def takes(changes: Any) -> bool:
    return isinstance(changes, dict) and all(
        name in {"a", "b"}
        and isinstance(share, dict)
        and all(
            key in LIMITS and type(value) is int and 0 <= value <= LIMITS[key]
            for key, value in share.items()
        )
        for name, share in changes.items()
    )


TestPanel = PanelMachine.TestCase


@pytest.mark.parametrize(
    ("changes", "param", "said"),
    [
        ({"a": {"margin": 1}, "c": {}}, "c", "there is no part 'c' here; there are: a, b"),
        ({"b": {"margin": 1}, "a": {"depth": 1, "no": 1}}, "a.no", "a: 'no' is unknown; there"),
        ({"a": {"margin": 1, "margin_max": -1}}, "a.margin_max", "it must be from 0 to 100"),
        ({"a": 3}, "a", "'a' is no JSON object"),
        ([], None, "the changes are no JSON object"),
    ],
)
def test_a_refusal_names_what_is_wrong(changes: object, param: str | None, said: str) -> None:
    with pytest.raises(Refused, match=r".") as caught:
        Panel([Part("a"), Part("b")]).plan(changes)

    assert caught.value.param == param
    assert said in str(caught.value)


def test_a_broken_part_hides_no_other_and_changes_nothing() -> None:
    part = Part("a")
    panel = Panel([Broken(), part])

    with pytest.raises(Refused, match="broken: cannot be changed so") as caught:
        panel.plan({"a": {"margin": 3}, "broken": {"x": 1}})
    assert caught.value.param == "broken"
    assert panel.state() == {"broken": {"error": "RuntimeError: lost"}, "a": part.values}


def test_no_part_at_all_is_said() -> None:
    with pytest.raises(Refused, match="there are: none at all"):
        Panel([]).plan({"a": {}})


def test_two_parts_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two parts are called 'a'"):
        Panel([Part("a"), Part("a")])


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.one_of(st.text(), st.integers()), inner)
    ),
)


@given(anything)
def test_whatever_a_part_shows_is_json(value: object) -> None:
    fitted = fit_json(value)

    assert json.loads(json.dumps(fitted, allow_nan=False)) == fitted


@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)))
def test_what_is_json_stays_as_it_is(value: Json) -> None:
    assert fit_json(value) == value or nesting(value) > 8


def nesting(value: Json) -> int:
    return 1 + max(map(nesting, value), default=0) if isinstance(value, list) else 0


def test_what_has_no_end_is_cut() -> None:
    endless: list[object] = []
    endless.append(endless)

    assert json.dumps(fit_json(endless))
