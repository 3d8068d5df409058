"""docs/metrics.md lists exactly the metrics that the gateway exports."""

import re
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry, Metric

from alise_gateway.domain.backend_load import BackendLoad
from alise_gateway.domain.cluster_figures import ClusterFigures, Watched, WatchFigures
from alise_gateway.domain.prediction import LearnedFigures
from alise_gateway.measure.gauges import (
    GaugeSnapshot,
    KvDemand,
    PredictionSnapshot,
    UpstreamConnections,
)
from alise_gateway.measure.metrics import GatewayMetrics
from alise_gateway.measure.timing import intervals_of
from architecture.repository import ROOT
from fakes.record import a_record

ROW = re.compile(
    r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \| (?P<labels>[\w, ]*?) ?\| (?P<unit>[^|]*?) ?\|"
    r" (?P<meaning>[^|]+) \| (?P<note>[^|]*?) ?\|$",
    re.MULTILINE,
)
SUFFIXES = {"counter": "_total", "info": "_info"}
UNIT_SUFFIXES = {"s": "_seconds", "s per token": "_seconds", "bytes": "_bytes"}


@dataclass(frozen=True)
class Entry:
    name: str
    type: str
    labels: frozenset[str]


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer((ROOT / "docs/metrics.md").read_text(encoding="utf-8")))


def documented() -> set[Entry]:
    return {
        Entry(row["name"], row["type"], frozenset(re.findall(r"\w+", row["labels"])))
        for row in rows()
    }


def families() -> list[Metric]:
    """Everything the registry exports once each family has a sample."""
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry, 10)
    metrics.add_backend("b")
    metrics.fell_back("org/model")
    metrics.finished(a_record(), intervals_of(a_record()))
    learned = LearnedFigures("team-a", "org/model", 900, 0.7, 0.8, 0.9, 0.1, None)
    predictions = PredictionSnapshot({"tier0": True}, 0, 1, [learned])
    load = BackendLoad(8_000, "auto", 0.5, 0.6, engine_running=1, engine_waiting=0)
    gauges = GaugeSnapshot(
        {"b": 1},
        {"b": UpstreamConnections()},
        {"b": load},
        waiting={"default": 1},
        demand={"org/model": KvDemand(1.0, 2.0, 1.0, 2.0)},
        predictions=predictions,
    )
    metrics.bind_gauges(lambda: gauges)
    watched = WatchFigures(connected=True, objects=1, lists=1, errors={"failing": 1})
    metrics.cluster.read = lambda: ClusterFigures({Watched.PODS: watched})
    return list(registry.collect())


def exported() -> set[Entry]:
    return {
        Entry(
            family.name + SUFFIXES.get(family.type, ""),
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in families()
    }


def test_every_exported_metric_is_documented_as_it_is() -> None:
    assert exported() - documented() == set()


def test_every_documented_metric_is_exported() -> None:
    assert documented() - exported() == set()


def test_no_metric_is_documented_twice() -> None:
    names = [row["name"] for row in rows()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_names_tell_their_unit(row: re.Match[str]) -> None:
    name = row["name"].removesuffix("_total")
    suffix = UNIT_SUFFIXES.get(row["unit"])
    assert suffix is None or name.endswith(suffix)
    assert not re.search(r"_(ms|milliseconds|kb|percent|perc)$", name)
    assert row["name"].startswith(("alise_gateway_", "process_"))


def test_every_family_has_samples_to_compare() -> None:
    assert [family.name for family in families() if not family.samples] == []
