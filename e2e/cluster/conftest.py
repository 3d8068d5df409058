"""One real cluster for the whole session, an installation in it, and namespaces for scenarios."""

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from running.cluster import dump, network, objects
from running.cluster.api import Api
from running.cluster.cluster import Cluster
from running.cluster.figures import Figures
from running.cluster.given import KUBECONFIG, GivenCluster
from running.cluster.helm import CHART, Release
from running.cluster.installation import Install, Installation
from running.cluster.own import OwnCluster
from running.cluster.rollout import wait_until_rolled_out

TEST_SECONDS = 300
LOGS = Path(__file__).resolve().parents[2] / "build/e2e-logs"
"""Of the last run, whole; a failure shows their ends."""
OPEN = {"gateway": {"config": {"identity": {"allow_anonymous": True}}}}
"""Callers need no key."""

_CLUSTER = pytest.StashKey[Cluster]()
_FIGURES = pytest.StashKey[Figures]()
_NUMBERS = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = Figures()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    cluster = item.config.stash.get(_CLUSTER, None)
    if report.failed and cluster is not None:  # type: ignore[attr-defined]
        report.sections.extend(dump.sections(cluster.api, cluster.logs))  # type: ignore[attr-defined]
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    text = config.stash[_FIGURES].write()
    if text:
        terminalreporter.section("figures")
        terminalreporter.write_line(text)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    return pytestconfig.stash[_FIGURES]


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, figures: Figures) -> Iterator[Cluster]:
    if KUBECONFIG not in os.environ and not network.inside():
        pytest.exit("these tests run in namespaces of their own: make e2e", returncode=1)
    started = time.monotonic()
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    made: Cluster = GivenCluster(LOGS) if KUBECONFIG in os.environ else OwnCluster(LOGS)
    pytestconfig.stash[_CLUSTER] = made
    figures.add("cluster_start_seconds", round(time.monotonic() - started, 1))
    yield made
    del pytestconfig.stash[_CLUSTER]
    made.stop()


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """As administrator."""
    return cluster.api


@pytest.fixture
def namespace(api: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    words = request.node.name.removeprefix("test_").replace("_", "-")[:40].rstrip("-")
    name = make_namespace(api, f"{words}-{next(_NUMBERS)}".lower())
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def site(cluster: Cluster, figures: Figures) -> Iterator[Installation]:
    """ALISE, installed with its custom resources, in front of two engines; needs no keys.

    For scenarios that leave it as it was. It is the release that owns the definitions of the
    custom resources, so that every other installation depends on it.
    """
    namespace = make_namespace(cluster.api, "alise")
    engines = objects.engines(cluster, namespace, "engine", 2)
    cluster.api.apply(engines)
    release = Release(cluster, namespace)
    started = time.monotonic()
    values = {**OPEN, "networkPolicy": {"enabled": True}}
    release.install(values)
    figures.add("install_seconds", round(time.monotonic() - started, 1))
    cluster.api.create(objects.model_pool(namespace, "engines", "engine"))
    wait_until_rolled_out(cluster.api, engines)
    found = Installation(cluster, release, engines, values)
    found.wait_for_endpoints(2)
    figures.add("install_to_serving_seconds", round(time.monotonic() - started, 1))
    yield found
    release.close()


@pytest.fixture
def install(site: Installation, cluster: Cluster, namespace: str) -> Iterator[Install]:
    """Install ALISE in the test's namespace in front of some engines; uninstalled afterwards."""
    made: list[Release] = []

    def build(replicas: int, values: Mapping[str, Any], chart: Path = CHART) -> Installation:
        engines = objects.engines(cluster, namespace, "engine", replicas)
        cluster.api.apply(engines)
        release = Release(cluster, namespace)
        made.append(release)
        whole = {**values, "crds": {"install": False}}
        release.install(whole, chart)
        cluster.api.create(objects.model_pool(namespace, "engines", "engine"))
        found = Installation(cluster, release, engines, whole)
        found.wait_for_endpoints(replicas)
        return found

    yield build
    for release in made:
        release.close()


def make_namespace(api: Api, name: str) -> str:
    """Create a namespace and wait for its ServiceAccount."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    api.wait(
        f"/api/v1/namespaces/{name}/serviceaccounts/default",
        lambda account: bool(account.get("secrets")),
        30,
        "the namespace has its ServiceAccount",
    )
    return name
