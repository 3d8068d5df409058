"""docs/operator.md lists exactly the metrics that the operator exports."""

import re

import pytest
import yaml
from prometheus_client import CollectorRegistry

from alise_core.crds.governing import PoolRef
from alise_core.crds.kv_cache_policy import PoolTuningStatus
from alise_core.crds.names import Kind
from alise_operator.canary.plan import State
from alise_operator.decide.tuning import TuningReport
from alise_operator.metrics import OperatorMetrics, Snapshot
from alise_operator.settings import OperatorSettings
from architecture.repository import ROOT

ROW = re.compile(
    r"^\| `(?P<name>alise_\w+)` \| (?P<type>\w+) \| (?P<labels>[\w, ]*?) ?\| (?P<unit>[^|]*?) ?\|",
    re.MULTILINE,
)
DOCUMENT = (ROOT / "docs/operator.md").read_text(encoding="utf-8")
SUFFIXES = {"counter": "_total"}

POOL = PoolRef("ns", Kind.MODEL_POOL, "chat")
REPORT = TuningReport(POOL, PoolTuningStatus(name="chat", wanted_replicas=5), pressure=1.1)

Entry = tuple[str, str, frozenset[str]]


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer(DOCUMENT))


def documented() -> set[Entry]:
    return {
        (row["name"], row["type"], frozenset(re.findall(r"\w+", row["labels"]))) for row in rows()
    }


def exported() -> set[Entry]:
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry)
    snapshot = Snapshot(
        queue_depth={"objects": 1},
        objects={"ModelPool": 1},
        watches={"pods": 1.0},
        connected=frozenset({"pods"}),
        tuned=(REPORT,),
    )
    metrics.expect_steps(State)
    metrics.decided("hold", "AtBase")
    metrics.read_gauges_from(lambda: snapshot)
    return {
        (
            family.name + SUFFIXES.get(family.type, ""),
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in registry.collect()
    }


def test_every_exported_metric_is_documented_as_it_is() -> None:
    assert exported() - documented() == set()


def test_every_documented_metric_is_exported() -> None:
    assert documented() - exported() == set()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_names_tell_their_unit(row: re.Match[str]) -> None:
    name = row["name"].removesuffix("_total")

    assert row["name"].startswith("alise_operator_")
    assert (row["unit"] == "s") is name.endswith("_seconds")


def test_settings_are_documented() -> None:
    text = (ROOT / "docs/operator.md").read_text(encoding="utf-8")

    assert [name for name in OperatorSettings.model_fields if f"`{name}`" not in text] == []


def test_the_example_of_an_autoscaler_asks_for_what_is_exported() -> None:
    text = (ROOT / "examples/engines-keda.yaml").read_text(encoding="utf-8")
    scaled = yaml.safe_load(text)
    asked = set(re.findall(r"alise_operator_\w+", str(scaled["spec"]["triggers"])))

    assert asked == {"alise_operator_pool_wanted_replicas"}
    assert asked <= {name for name, _, _ in exported()}


def test_every_state_of_a_step_is_documented() -> None:
    (row,) = [
        line for line in DOCUMENT.splitlines() if "`alise_operator_restart_steps_total`" in line
    ]
    assert set(re.findall(r"`([A-Z]\w+)`", row)) == set(State)
