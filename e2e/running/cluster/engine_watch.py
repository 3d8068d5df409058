"""What engines say of themselves, many times a second, while gateways have requests waiting.

What gateways believe of engines is not asked: the engines' own counts are what must stay in bounds.
"""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from alise_bench.replicas.watch import Watch
from running.cluster.api import Object
from running.cluster.installation import ADMIN_PORT, Installation
from running.cluster.objects import ENGINE_PORT
from running.cluster.rollout import ready_pods

LOOK_SECONDS = 0.1
TIMEOUT_SECONDS = 10.0
GATEWAY_SECONDS = 1.0
"""One that was killed takes its address along, and nobody says so: no look waits long for that."""
REQUESTS = re.compile(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", re.MULTILINE)
MEMORY = re.compile(r"^vllm:kv_cache_usage_perc\{.*\} (\S+)$", re.MULTILINE)
WAITING = re.compile(r"^alise_gateway_waiting_requests\{.*\} (\S+)$", re.MULTILINE)


class EngineWatch:
    """Looks at every engine and every gateway, again and again, in a thread.

    Args:
        site: Its ready engines are watched from now on, whatever comes later.
        gateways: Pods whose queues count; one that does not answer has none.
        allowed: Requests that an engine may have at a time.

    Attributes:
        seen: What was seen.
        looks: How many times all engines were looked at.
        late_seconds: The longest time between two looks.
    """

    def __init__(self, site: Installation, gateways: Sequence[Object], allowed: int) -> None:
        engines = ready_pods(site.api, site.namespace, {"app": "engine"})
        self._engines = [_url(pod, ENGINE_PORT) for pod in engines]
        self._gateways = [_url(pod, ADMIN_PORT) for pod in gateways]
        self._allowed = allowed
        self._stop = threading.Event()
        self.seen = Watch(len(engines))
        self.looks = 0
        self.late_seconds = 0.0

    def run(self) -> None:
        """Look until stopped."""
        before = time.monotonic()
        with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            while not self._stop.wait(LOOK_SECONDS):
                self._look(client)
                now = time.monotonic()
                self.late_seconds, before = max(self.late_seconds, now - before), now

    def forget(self, gateway: Object) -> None:
        """Its queue counts no longer: it is gone."""
        self._gateways.remove(_url(gateway, ADMIN_PORT))

    def stop(self) -> None:
        """Make ``run`` return after the look that goes on."""
        self._stop.set()

    def _look(self, client: httpx.Client) -> None:
        # A copy: they are forgotten by another thread.
        gateways = tuple(self._gateways)
        waiting = any(sum(_numbers(client, url, WAITING)) > 0 for url in gateways)
        for number, url in enumerate(self._engines):
            text = client.get(url).text
            requests = [float(it) for it in REQUESTS.findall(text)]
            memory = [float(it) for it in MEMORY.findall(text)]
            assert len(requests) == 2, text[:2_000]
            self.seen.note(
                number,
                time.monotonic(),
                in_flight=sum(requests) / self._allowed,
                allowed=1.0,
                booked=max(memory),
                waiting=waiting,
            )
        self.looks += 1


@contextmanager
def watching(site: Installation, gateways: Sequence[Object], allowed: int) -> Iterator[EngineWatch]:
    """Watch while the block runs; arguments as for ``EngineWatch``."""
    watch = EngineWatch(site, gateways, allowed)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            watch.run()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
    if failed:
        raise failed[0]


def _numbers(client: httpx.Client, url: str, wanted: re.Pattern[str]) -> list[float]:
    try:
        text = client.get(url, timeout=GATEWAY_SECONDS).text
        return [float(it) for it in wanted.findall(text)]
    except httpx.TransportError:
        return []


def _url(pod: Object, port: int) -> str:
    return f"http://{pod['status']['podIP']}:{port}/metrics"
