"""Gateways are replaced under load, and Helm goes forth and back: no request fails.

Settings change and change back, and what the chart made once stays.
"""

import base64
import shutil
from pathlib import Path

import pytest
import yaml

from running.cluster.helm import CHART, merged
from running.cluster.installation import Install, Installation
from running.cluster.load import COMPLETE, load

EARLIER = "0.0.9"
TOKEN_CHARACTERS = 48
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


def token(site: Installation) -> bytes:
    """Of the admin port."""
    secret = site.api.read(f"/api/v1/namespaces/{site.namespace}/secrets/alise-gateway-admin")
    return base64.b64decode(secret["data"]["token"])


def settings(site: Installation) -> str:
    """What the gateways read at their start."""
    path = f"/api/v1/namespaces/{site.namespace}/configmaps/alise-gateway"
    return str(site.api.read(path)["data"]["gateway.yaml"])


def test_upgrade_and_rollback_under_load(install: Install, earlier_chart: Path) -> None:
    """Both replace every gateway, one after the other."""
    values = {"gateway": {**OPEN, "replicas": 2}, "operator": {"enabled": False}}
    site = install(1, values, earlier_chart)
    assert site.release.chart_version() == EARLIER
    first = {pod["metadata"]["name"] for pod in site.pods("gateway")}
    before, made = settings(site), token(site)
    assert len(made) == TOKEN_CHARACTERS

    with load(site.url) as seen:
        changed = {"gateway": {"config": {"queue": {"ttl_seconds": 45}}}}
        site.release.upgrade(merged(site.values, changed))
        seen.more(4)
        site.release.wait()
        second = {pod["metadata"]["name"] for pod in site.pods("gateway")}
        assert site.release.chart_version() != EARLIER
        assert "ttl_seconds: 45" in settings(site)
        assert token(site) == made
        site.release.rollback()
        seen.more(4)
        site.release.wait()
        seen.more(8)

    print(f"endings: {dict(seen.counts)}")
    assert len(first) == len(second) == 2
    assert not first & second
    assert set(seen.counts) == {COMPLETE}
    assert site.release.chart_version() == EARLIER
    assert [item["revision"] for item in site.release.history()] == [1, 2, 3]
    assert settings(site) == before
    assert token(site) == made
