"""One real cluster for the whole session, and namespaces in it for each scenario."""

import itertools
from collections.abc import Iterator

import pytest

from running.cluster import dump, network
from running.cluster.own import OwnCluster

TEST_SECONDS = 300

_CLUSTER = pytest.StashKey[OwnCluster]()
_NUMBERS = itertools.count(1)


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


@pytest.fixture(scope="session")
def cluster(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OwnCluster]:
    if not network.inside():
        pytest.exit("these tests run in namespaces of their own: make e2e", returncode=1)
    made = OwnCluster(tmp_path_factory.mktemp("cluster"))
    pytestconfig.stash[_CLUSTER] = made
    yield made
    made.stop()


@pytest.fixture
def namespace(cluster: OwnCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, with its default ServiceAccount."""
    words = request.node.name.removeprefix("test_").replace("_", "-")[:40].rstrip("-")
    name = f"{words}-{next(_NUMBERS)}".lower()
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.api.wait(
        f"/api/v1/namespaces/{name}/serviceaccounts/default",
        lambda account: bool(account.get("secrets")),
        30,
        "the namespace has its ServiceAccount",
    )
    yield name
    cluster.api.delete(f"/api/v1/namespaces/{name}")
