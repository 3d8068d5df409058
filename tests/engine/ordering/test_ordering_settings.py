from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.errors import ConfigError
from alise_vllm.ordering.policies import PolicyName
from alise_vllm.ordering.settings import OrderingSettings, changed

DEFAULT = OrderingSettings()


def test_everything_can_be_changed() -> None:
    changes: dict[str, Any] = {
        "policy": "tool-aware",
        "recalibrate": False,
        "preemption_limit": 1,
        "margin": 0.5,
        "max_preemptions": 0,
        "aging_halving_seconds": 0,
        "starvation_seconds": 60.0,
        "starvation_factor": 2,
        "max_active_requests": 7,
    }

    found = changed(DEFAULT, changes)

    assert found.as_json() == changes
    assert set(changes) == set(DEFAULT.as_json())
    assert found.policy is PolicyName.TOOL_AWARE
    assert (found.limits.c, found.limits.margin, found.limits.most) == (1.0, 0.5, 0)
    assert changed(found, {}) == found


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("polcy", "srpt", "no setting 'polcy'; there are policy, "),
        ("recalibrate", 1, "recalibrate is '1' and has to be true or false"),
        ("policy", "sjf", "one of fcfs, gittins, srpt, mlfq, tool-aware"),
        ("policy", None, "one of fcfs"),
        ("preemption_limit", 1.1, "preemption_limit is '1.1' and has to be a number from 0 to 1"),
        ("preemption_limit", True, "a number from 0 to 1"),
        ("preemption_limit", float("nan"), "a number from 0 to 1"),
        ("margin", "0.2", "a number from 0 to 100"),
        ("margin", -0.1, "a number from 0 to 100"),
        ("max_preemptions", 2.0, "a whole number from 0 to 1000"),
        ("aging_halving_seconds", float("inf"), "a number from 0 to 86400"),
        ("aging_halving_seconds", 0.5, "0, for no aging, or at least 1"),
        ("starvation_seconds", [], "a number from 0"),
        ("max_active_requests", 0, "a whole number from 1"),
        ("max_active_requests", None, "a whole number from 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(name: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(DEFAULT, {"margin": 0.3, name: value})

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(sorted(DEFAULT.as_json())) | st.text(),
        st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_anything_is_a_setting_or_an_error(changes: dict[str, Any]) -> None:
    try:
        found = changed(DEFAULT, changes)
    except ConfigError as error:
        said = str(error)
    else:
        said = ""
        assert all(found.as_json()[name] == value for name, value in changes.items())
    assert len(said) < 500
