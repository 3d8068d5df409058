"""Gateways are replaced under load, and Helm goes forth and back: no request fails."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from running.cluster.helm import CHART, merged
from running.cluster.installation import Installation
from running.cluster.load import COMPLETE, load

Install = Callable[[int, Mapping[str, Any]], Installation]
OPEN = {"config": {"identity": {"allow_anonymous": True}}}


@pytest.fixture
def earlier_chart(tmp_path: Path) -> Path:
    """The chart as an earlier release of it: another version, and settings that have changed."""
    copy = tmp_path / "alise"
    shutil.copytree(CHART, copy)
    file = copy / "Chart.yaml"
    chart = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**chart, "version": "0.0.9"}), encoding="utf-8")
    return copy


def test_a_rolling_update_of_gateways_fails_no_request(install: Install) -> None:
    values = {"gateway": {**OPEN, "replicas": 2}, "operator": {"enabled": False}}
    site = install(2, values)
    before = {pod["metadata"]["name"] for pod in site.pods("gateway")}

    with load(site.url) as seen:
        site.release.upgrade(merged(site.values, {"gateway": {"podAnnotations": {"roll": "1"}}}))
        seen.more(4)
        site.release.wait()
        seen.more(8)

    print(f"endings: {dict(seen.counts)}")
    assert not before & {pod["metadata"]["name"] for pod in site.pods("gateway")}
    assert set(seen.counts) == {COMPLETE}


def test_upgrade_from_an_earlier_chart_and_back(install: Install, earlier_chart: Path) -> None:
    values = {"gateway": {**OPEN, "replicas": 2}}
    site = install(1, values)
    # The release as an earlier chart would have left it.
    site.release.upgrade(site.values, earlier_chart)
    site.release.wait()

    changed = {"gateway": {"config": {"queue": {"ttl_seconds": 45}}}}
    with load(site.url) as seen:
        site.release.upgrade(merged(site.values, changed))
        site.release.wait()
        seen.more(6)
        site.release.rollback()
        site.release.wait()
        seen.more(6)

    print(f"endings: {dict(seen.counts)}")
    assert set(seen.counts) == {COMPLETE}
    charts = [item["chart"] for item in site.release.history()]
    assert ["0.0.9" in str(each) for each in charts[-3:]] == [True, False, True]
