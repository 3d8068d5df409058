"""One Helm for all tests of the chart."""

from collections.abc import Iterator

import pytest

from charts.helm import Helm


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    helm = Helm()
    yield helm
    helm.close()
