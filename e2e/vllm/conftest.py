"""Two real vLLM servers and the gateway in front of them, for the whole session."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from running.gateway import GatewayServer, start_gateway
from running.process import ServerProcess
from running.vllm import TOOLS, VllmEnvironment, VllmServer, find_environment, start_vllm

TEST_SECONDS = 600
QUEUE_LIMIT = 24
"""Requests that one server takes before it refuses; below what the overload scenario sends."""

_PROCESSES = pytest.StashKey[list[ServerProcess]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Iterator[None]:
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        for process in item.config.stash.get(_PROCESSES, []):
            report.sections.append((process.name, str(process)))  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="session")
def processes(pytestconfig: pytest.Config) -> Iterator[list[ServerProcess]]:
    """Everything that was started; ended in reverse order, whatever happened."""
    started: list[ServerProcess] = []
    pytestconfig.stash[_PROCESSES] = started
    yield started
    for process in reversed(started):
        process.stop()


@pytest.fixture(autouse=True)
def _logs_of_this_test_only(pytestconfig: pytest.Config) -> None:
    for process in pytestconfig.stash.get(_PROCESSES, []):
        process.mark()


@pytest.fixture(scope="session")
def environment() -> VllmEnvironment:
    return find_environment()


@pytest.fixture(scope="session")
def engines(
    environment: VllmEnvironment, logs: Path, processes: list[ServerProcess]
) -> tuple[VllmServer, VllmServer]:
    extra = (*TOOLS, f"--max-num-queued-reqs={QUEUE_LIMIT}")
    first = start_vllm(environment, "vllm-0", logs, 0, extra)
    processes.append(first.process)
    second = start_vllm(environment, "vllm-1", logs, 1, extra)
    processes.append(second.process)
    return first.wait_until_ready(), second.wait_until_ready()


@pytest.fixture(scope="session")
def gateway(
    engines: tuple[VllmServer, VllmServer], logs: Path, processes: list[ServerProcess]
) -> GatewayServer:
    server = start_gateway("gateway", [engine.url for engine in engines], logs)
    processes.append(server.process)
    return server


@pytest.fixture
def client(gateway: GatewayServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.api, api_key="unused", max_retries=0) as made:
        yield made
