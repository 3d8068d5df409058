"""Gateways are replaced under load, and Helm goes forth and back: no request fails."""

import shutil
from pathlib import Path

import pytest
import yaml

from running.cluster.helm import CHART, merged
from running.cluster.installation import Install
from running.cluster.load import COMPLETE, load

EARLIER = "0.0.9"
OPEN = {"config": {"identity": {"allow_anonymous": True}}}


@pytest.fixture
def earlier_chart(tmp_path: Path) -> Path:
    """The chart as an earlier release of it: another version, and settings that have changed."""
    copy = tmp_path / "alise"
    shutil.copytree(CHART, copy)
    file = copy / "Chart.yaml"
    chart = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**chart, "version": EARLIER}), encoding="utf-8")
    return copy


def test_upgrade_and_rollback_under_load(install: Install, earlier_chart: Path) -> None:
    """Both replace every gateway, one after the other."""
    values = {"gateway": {**OPEN, "replicas": 2}, "operator": {"enabled": False}}
    site = install(1, values, earlier_chart)
    assert site.release.chart_version() == EARLIER
    first = {pod["metadata"]["name"] for pod in site.pods("gateway")}

    with load(site.url) as seen:
        changed = {"gateway": {"config": {"queue": {"ttl_seconds": 45}}}}
        site.release.upgrade(merged(site.values, changed))
        seen.more(4)
        site.release.wait()
        second = {pod["metadata"]["name"] for pod in site.pods("gateway")}
        assert site.release.chart_version() != EARLIER
        site.release.rollback()
        seen.more(4)
        site.release.wait()
        seen.more(8)

    print(f"endings: {dict(seen.counts)}")
    assert len(first) == len(second) == 2
    assert not first & second
    assert set(seen.counts) == {COMPLETE}
    assert site.release.chart_version() == EARLIER
    assert len(site.release.history()) == 3
