"""One real cluster for the whole session, an installation in it, and namespaces for scenarios."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from running.cluster import dump, network, objects
from running.cluster.api import Api
from running.cluster.cluster import Cluster
from running.cluster.containers import NODE, ContainerCluster
from running.cluster.figures import Figures
from running.cluster.given import KUBECONFIG, GivenCluster
from running.cluster.helm import Release
from running.cluster.installation import Install, Installation, installing
from running.cluster.namespaces import make_namespace, namespaces
from running.cluster.own import OwnCluster, ProcessCluster
from running.cluster.rollout import wait_until_rolled_out

TEST_SECONDS = 300
"""What hangs for so long will hang for ever; the first test starts the cluster as well."""
CONTAINER_TEST_SECONDS = 900
"""Containers start at a tenth of the speed of processes when all of it shares few cores."""
LOGS = Path(__file__).resolve().parents[2] / "build/e2e-logs"
"""Of the last run, whole; a failure shows their ends."""
OPEN = {"gateway": {"config": {"identity": {"allow_anonymous": True}}}}
"""Callers need no key."""

_CLUSTER = pytest.StashKey[Cluster]()
_FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = Figures()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seconds = CONTAINER_TEST_SECONDS if NODE in os.environ else TEST_SECONDS
    for item in items:
        item.add_marker(pytest.mark.timeout(seconds))
    # The quickstart is for a cluster that has never seen ALISE.
    items.sort(key=lambda item: item.path.name != "test_quickstart.py")


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
    made = _kind_of_cluster()(LOGS)
    pytestconfig.stash[_CLUSTER] = made
    figures.add("cluster_start_seconds", round(time.monotonic() - started, 1))
    figures.add_condition("kubernetes", str(made.api.read("/version")["gitVersion"]))
    if made.image_megabytes():
        figures.add("image_megabytes", dict(made.image_megabytes()))
    yield made
    del pytestconfig.stash[_CLUSTER]
    made.stop()


def _kind_of_cluster() -> type[GivenCluster | OwnCluster]:
    if KUBECONFIG in os.environ:
        return GivenCluster
    return ContainerCluster if NODE in os.environ else ProcessCluster


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """As administrator."""
    return cluster.api


@pytest.fixture
def namespace(api: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    with namespaces(api, request.node.name.removeprefix("test_")) as name:
        yield name


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


@pytest.fixture(scope="session")
def other(site: Installation, cluster: Cluster) -> Iterator[Installation]:
    """A second installation, in front of one engine: callers need keys, and two operators run.

    For scenarios that leave it as it was.
    """
    del site  # it has installed the definitions
    with namespaces(cluster.api, "other") as namespace, installing(cluster, namespace) as build:
        yield build(1, {"operator": {"replicas": 2}})


@pytest.fixture
def install(site: Installation, cluster: Cluster, namespace: str) -> Iterator[Install]:
    """Install ALISE in the test's namespace in front of some engines; uninstalled afterwards."""
    del site  # it has installed the definitions
    with installing(cluster, namespace) as build:
        yield build
