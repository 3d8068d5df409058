"""What is wrong with a spec is said the way the API server says it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_core.crds.names import Kind
from alise_core.crds.validate import (
    LONGEST_PROBLEM,
    MOST_PROBLEMS,
    SPECS,
    SpecInvalid,
    parse_spec,
)
from fakes.custom_resources import SMALLEST

PODS = SMALLEST[Kind.MODEL_POOL]

WRONG: list[tuple[Kind, Any, str]] = [
    (
        Kind.SCHEDULING_POLICY,
        {"admission": {"quantile": 0.5, "highQuantile": 0.2}},
        "spec.admission.highQuantile: Invalid value: 0.2: must not be below quantile (0.5)",
    ),
    (
        Kind.SCHEDULING_POLICY,
        {"classes": [{"name": "gold"}]},
        'spec.classes[0].name: Unsupported value: "gold": supported values: "priority", "scale", '
        '"default", "flex", "batch"',
    ),
    (
        Kind.SCHEDULING_POLICY,
        {"queue": {"maxWaiting": "10"}},
        'spec.queue.maxWaiting: Invalid value: "10": must be a valid integer',
    ),
    (
        Kind.SCHEDULING_POLICY,
        {"queue": {"maxWaiting": True}},
        "spec.queue.maxWaiting: Invalid value: true: must be a valid integer",
    ),
    (
        Kind.SCHEDULING_POLICY,
        {"classes": [{"name": "flex"}, {"name": "flex"}]},
        'spec.classes[1].name: Duplicate value: "flex": must be there once',
    ),
    (Kind.SCHEDULING_POLICY, {"targetRefs": [{}]}, "spec.targetRefs[0].name: Required value"),
    (
        Kind.MODEL_POOL,
        {},
        "spec: Invalid value: exactly one of selector and inferencePoolRef must be set",
    ),
    (
        Kind.MODEL_POOL,
        {**PODS, "targetPorts": [{"number": 0}]},
        "spec.targetPorts[0].number: Invalid value: 0: must be greater than or equal to 1",
    ),
    (
        Kind.MODEL_POOL,
        {"selector": {"matchLabels": {"app.kubernetes.io/name": 1}}},
        "spec.selector.matchLabels[app.kubernetes.io/name]: Invalid value: 1: "
        "must be a valid string",
    ),
    (
        Kind.TENANT,
        {"defaultClass": "priority", "highestClass": "flex"},
        'spec.defaultClass: Invalid value: "priority": must not be served before highestClass '
        "(flex)",
    ),
    (Kind.TENANT, [], "spec: Invalid value: list: must be an object"),
    (Kind.TENANT, {"weight": []}, "spec.weight: Invalid value: list: must be a valid number"),
    (
        Kind.TENANT,
        {"weight": float("nan")},
        "spec: Invalid value: must be JSON, with numbers that are finite",
    ),
]


@pytest.mark.parametrize(("kind", "spec", "problem"), WRONG, ids=[row[2][:60] for row in WRONG])
def test_problems_name_field_value_and_remedy(kind: Kind, spec: Any, problem: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        parse_spec(kind, spec)

    assert caught.value.problems == (problem,)


@pytest.mark.parametrize("kind", SPECS)
def test_the_smallest_spec_is_valid(kind: Kind) -> None:
    assert isinstance(parse_spec(kind, SMALLEST[kind]), SPECS[kind])


def test_the_spec_may_be_absent_where_everything_has_a_default() -> None:
    assert parse_spec(Kind.SCHEDULING_POLICY, None) == parse_spec(Kind.SCHEDULING_POLICY, {})


def test_null_means_absent() -> None:
    spec = {**PODS, "engine": None, "apiKeySecretRef": None, "targetPorts": None}

    assert parse_spec(Kind.MODEL_POOL, spec) == parse_spec(Kind.MODEL_POOL, PODS)


def test_fields_of_a_newer_schema_are_passed_over_as_the_api_server_prunes_them() -> None:
    newer = {
        "selector": {"matchLabels": {"app": "vllm"}, "matchSomething": []},
        "targetPorts": [{"number": 8000, "name": "http"}],
        "later": {"x": 1},
    }

    assert parse_spec(Kind.MODEL_POOL, newer) == parse_spec(Kind.MODEL_POOL, PODS)


def test_a_newer_field_does_not_hide_a_problem() -> None:
    with pytest.raises(SpecInvalid) as caught:
        parse_spec(Kind.TENANT, {"later": 1, "weight": 0})

    assert caught.value.problems == ("spec.weight: Invalid value: 0: must be greater than 0",)


def test_what_may_be_a_pasted_secret_is_not_repeated() -> None:
    pasted = "sk-Proj-0123456789"
    with pytest.raises(SpecInvalid) as caught:
        parse_spec(Kind.TENANT, {"apiKeySecretRefs": [{"name": pasted}]})

    assert "spec.apiKeySecretRefs[0].name: Invalid value: " in str(caught.value)
    assert pasted not in str(caught.value)


def test_problems_are_bounded_in_number_and_length() -> None:
    bad = {f"{'a' * 55}-{each}": "x" * 5_000 for each in range(60)}
    with pytest.raises(SpecInvalid) as caught:
        parse_spec(Kind.MODEL_POOL, {"selector": {"matchLabels": bad}})

    assert len(caught.value.problems) == MOST_PROBLEMS + 1
    assert caught.value.problems[-1] == "and 52 more"
    assert max(map(len, caught.value.problems)) <= LONGEST_PROBLEM


def test_a_spec_that_is_too_deep_is_a_problem_and_no_crash() -> None:
    deep: Any = {}
    for _ in range(5_000):
        deep = {"selector": deep}
    with pytest.raises(SpecInvalid):
        parse_spec(Kind.MODEL_POOL, deep)


_names = sorted(
    {
        field.alias or name
        for model in SPECS.values()
        for part in [model, *(f.annotation for f in model.model_fields.values())]
        for name, field in getattr(part, "model_fields", {}).items()
    }
)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["flex", "boost", "Auto", "lru", "auto", "ModelPool", "vllm"])
)
_garbage = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_names) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(kind=st.sampled_from(Kind), spec=_garbage)
def test_anything_is_a_spec_or_problems(kind: Kind, spec: object) -> None:
    problems: tuple[str, ...] = ()
    try:
        parsed = parse_spec(kind, spec)
    except SpecInvalid as error:
        problems = error.problems
    else:
        again = json.loads(parsed.model_dump_json(by_alias=True, exclude_unset=True))
        assert parse_spec(kind, again) == parsed
    assert len(problems) <= MOST_PROBLEMS + 1
    for problem in problems:
        assert len(problem) <= LONGEST_PROBLEM
        assert problem.startswith(("spec", "and "))
