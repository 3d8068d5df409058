"""The API server refuses what we take it to refuse: good, broken and random specs, none stored.

What is empty is a value as any other.

Everywhere else a model of the API server stands for it (``fakes.admission``). Here that is held to
the real one, and so is what gateway and operator refuse by themselves.
"""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from alise_core.crds.definition import DEFINITIONS, object_schema
from alise_core.crds.names import Kind
from alise_core.crds.validate import SpecInvalid, parse_spec
from fakes.admission import refusals
from fakes.specs import BROKEN, GOOD, UNEQUAL_LISTS, mutated
from running.cluster.api import MERGE, collection, path_of
from running.cluster.figures import Figures
from running.cluster.installation import Installation
from running.cluster.objects import alise, model_pool

RULES_SINCE = (1, 25)
"""Kubernetes evaluates rules in CEL from this version on."""
RANDOM_SPECS = 300
SCHEMAS = {kind: object_schema(kind)["properties"]["spec"] for kind in DEFINITIONS}


@pytest.fixture(scope="module")
def knows_rules(site: Installation) -> bool:
    """Whether this API server evaluates rules between fields."""
    version = site.api.read("/version")
    return (int(version["major"]), int(version["minor"].rstrip("+"))) >= RULES_SINCE


def refusal(site: Installation, kind: Kind, spec: object) -> str:
    """What the API server says to such an object; empty where it takes it."""
    item: dict[str, Any] = alise(kind.value, site.namespace, "sample", {})
    item["spec"] = spec
    answer = site.api.request("POST", collection(item), json=item, params={"dryRun": "All"})
    if answer.status_code == httpx.codes.CREATED:
        return ""
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, answer.text
    return str(answer.json()["message"])


def disagreement(site: Installation, kind: Kind, spec: object, *, rules: bool) -> str:
    """How real API server, model and readers differ about a spec; empty where they agree."""
    real = refusal(site, kind, spec)
    model = refusals(SCHEMAS[kind], spec, rules=rules)
    with_rules = refusals(SCHEMAS[kind], spec)
    try:
        parse_spec(kind, spec)
        ours: tuple[str, ...] = ()
    except SpecInvalid as error:
        ours = error.problems
    if bool(real) == bool(model) and bool(with_rules) == bool(ours):
        return ""
    return f"{kind} {spec}: API server {real!r}, model {model}, with rules {with_rules}, we {ours}"


def test_samples(site: Installation, knows_rules: bool, figures: Figures) -> None:
    samples = [*GOOD, *((kind, spec) for kind, spec, _ in BROKEN), *UNEQUAL_LISTS]

    found = [disagreement(site, kind, spec, rules=knows_rules) for kind, spec in samples]

    assert list(filter(None, found)) == []
    refused = [bool(refusal(site, kind, spec)) for kind, spec in samples]
    assert refused.count(False) >= len(GOOD)
    assert refused.count(True) >= len(UNEQUAL_LISTS)
    figures.add("admission_samples_agreed", len(samples))


def test_texts_of_a_status_may_be_empty(site: Installation) -> None:
    pool = path_of(model_pool(site.namespace, "engines", "engine"))
    condition = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"

    answer = site.api.request(
        "PATCH",
        f"{pool}/status",
        content=json.dumps({"status": {"conditions": [condition]}}),
        headers={"Content-Type": MERGE},
        params={"dryRun": "All"},
    )

    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["status"]["conditions"] == [condition]


@settings(
    max_examples=RANDOM_SPECS,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(case=mutated())
def test_random_specs(site: Installation, knows_rules: bool, case: tuple[Kind, Any]) -> None:
    kind, spec = case
    assert disagreement(site, kind, spec, rules=knows_rules) == ""
