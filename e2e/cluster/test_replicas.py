"""Three gateways share two engines under a load that is not shared evenly, whatever goes away.

Clients ask each gateway directly, as behind a Service that sends nearly everybody to one of them,
and want more than the engines can do. What engines are given, and whether one idles while somebody
waits, is read off the engines.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from running.cluster.api import Object, path_of
from running.cluster.cluster import Cluster
from running.cluster.engine_watch import EngineWatch, watching
from running.cluster.figures import Figures
from running.cluster.installation import Installation, installing
from running.cluster.load import COMPLETE, Load, load
from running.cluster.namespaces import namespaces
from running.cluster.rollout import ready_pods
from running.scrape import eventually

ALLOWED = 32
"""Requests that an engine may have at a time."""
ENGINE = (f"--max-num-seqs={ALLOWED}", "--speed=0.25")
"""Steps of some 50 ms, so that a busy machine can keep up with them."""
CLIENTS = (96, 18, 6)
"""Of each gateway: 80, 15 and 5 %."""
TOKENS = 50
GATEWAY_PORT = 8080
MOST_OVER = 1.05
MOST_IDLE_SECONDS = 1.0
RESPLIT_SECONDS = 2.0
UNDISTURBED_SECONDS = 15.0
AWAY_SECONDS = 60.0
RECOVERY_SECONDS = 60.0


@dataclass(slots=True)
class Crowd:
    """Gateways with the clients of each.

    Attributes:
        site: The installation.
        gateways: Its pods, the one with most clients first.
        loads: What the clients of each have seen.
    """

    site: Installation
    gateways: list[Object]
    loads: list[Load] = field(default_factory=list)
    stacks: list[ExitStack] = field(default_factory=list)

    def ask(self, gateway: Object, clients: int) -> None:
        """Let so many clients ask one gateway from now on."""
        stack = ExitStack()
        url = f"http://{gateway['status']['podIP']}:{GATEWAY_PORT}/v1"
        self.stacks.append(stack)
        self.loads.append(
            stack.enter_context(load(url, clients, tokens=TOKENS, streamed=False, first=1))
        )

    def close(self) -> None:
        """Let everybody have the last answer."""
        while self.stacks:
            self.stacks.pop().close()

    def assert_complete(self) -> None:
        """Nobody's request has failed."""
        for seen in self.loads:
            assert set(seen.counts) == {COMPLETE}

    def in_flight(self, gateway: Object) -> int:
        """Requests that a gateway has at the engines."""
        backends = self.site.ask(gateway, "/alise/backends")["backends"]
        return sum(each["in_flight"] for each in backends)

    def shares(self) -> list[tuple[int, int]]:
        """Which of how many gateways each takes itself for."""
        told = [self.site.ask(pod, "/alise/cluster") for pod in self.gateways]
        return sorted((each["share_index"], each["share_count"]) for each in told)

    def share_alike(self) -> bool:
        """Whether all know of each other."""
        number = len(self.gateways)
        return self.shares() == [(index, number) for index in range(number)]


@pytest.fixture(scope="module")
def crowd(site: Installation, cluster: Cluster) -> Iterator[Crowd]:
    del site  # it has installed the definitions
    open_to_all = {"config": {"identity": {"allow_anonymous": True}}, "replicas": len(CLIENTS)}
    with ExitStack() as stack:
        namespace = stack.enter_context(namespaces(cluster.api, "replicas"))
        install = stack.enter_context(installing(cluster, namespace))
        installed = install(
            2, {"gateway": open_to_all}, engine=ENGINE, maxInFlightPerEndpoint=ALLOWED
        )
        made = Crowd(installed, installed.pods("gateway"))
        eventually(made.share_alike, RECOVERY_SECONDS, "the gateways know of each other")
        stack.callback(made.close)
        for gateway, clients in zip(made.gateways, CLIENTS, strict=True):
            made.ask(gateway, clients)
        yield made


def judge(watch: EngineWatch, figures: Figures, name: str) -> None:
    """No engine was given too much, none idled while a request waited."""
    seen = watch.seen
    found = {
        "most_in_flight_ratio": round(seen.most_in_flight, 3),
        "longest_idle_seconds": round(seen.longest_idle, 2),
        "longest_spare_seconds": round(seen.longest_spare, 2),
    }
    print(f"{name}: {watch.looks} looks, {watch.late_seconds:.2f} s between two at most; {found}")
    figures.add(f"replicas_{name}", found)
    assert watch.looks > 0
    assert seen.most_in_flight <= MOST_OVER
    assert seen.longest_idle <= MOST_IDLE_SECONDS


def test_engines_are_neither_overshot_nor_idle(crowd: Crowd, figures: Figures) -> None:
    with watching(crowd.site, crowd.gateways, ALLOWED) as watch:
        time.sleep(UNDISTURBED_SECONDS)

    judge(watch, figures, "skewed")
    crowd.assert_complete()
    eventually(
        lambda: crowd.in_flight(crowd.gateways[0]) > 2 * ALLOWED / len(CLIENTS),
        RECOVERY_SECONDS,
        "the gateway with most of the clients has more than an equal share",
    )


def test_traffic_goes_on_without_an_api_server_and_state_recovers(
    crowd: Crowd, figures: Figures
) -> None:
    site = crowd.site
    control_plane = site.cluster.control_plane
    with watching(site, crowd.gateways, ALLOWED) as watch:
        control_plane.stop_api_server()
        try:
            away = time.monotonic()
            while time.monotonic() < away + AWAY_SECONDS:
                for seen in crowd.loads:
                    seen.more(1)
            assert all(len(site.usable(pod)) == 2 for pod in crowd.gateways)
        finally:
            control_plane.start_api_server()
    back = time.monotonic()
    third = one_more_engine(site)
    site.api.create(third)
    site.wait_for_endpoints(3, RECOVERY_SECONDS)
    figures.add("api_server_back_to_new_engine_served_seconds", round(time.monotonic() - back, 1))
    site.api.wait(
        f"/apis/alise.dev/v1alpha1/namespaces/{site.namespace}/modelpools/engines",
        lambda item: item.get("status", {}).get("endpoints", {}).get("ready") == 3,
        RECOVERY_SECONDS,
        "the operator leads again and tells of the third engine",
    )
    figures.add("api_server_back_to_status_seconds", round(time.monotonic() - back, 1))
    site.api.delete(path_of(third))
    site.wait_for_endpoints(2)

    judge(watch, figures, "without_api_server")
    crowd.assert_complete()
    names = {pod["metadata"]["name"] for pod in crowd.gateways}
    assert names == {pod["metadata"]["name"] for pod in site.pods("gateway")}
    assert crowd.share_alike()


def one_more_engine(site: Installation) -> Object:
    """A pod that is on its node already: whether controllers have come back is not asked here."""
    [like, *_] = ready_pods(site.api, site.namespace, {"app": "engine"})
    metadata = {"name": "engine-third", "namespace": site.namespace, "labels": {"app": "engine"}}
    spec = {**site.engines["spec"]["template"]["spec"], "nodeName": like["spec"]["nodeName"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_a_killed_gateway_leaves_its_part_to_the_others(crowd: Crowd, figures: Figures) -> None:
    site = crowd.site
    busiest, *others = crowd.gateways
    name = busiest["metadata"]["name"]
    crowd.assert_complete()
    path = f"/api/v1/namespaces/{site.namespace}/pods/{name}"
    with watching(site, crowd.gateways, ALLOWED) as watch:
        # Without grace: SIGKILL.
        site.api.delete(path, params={"gracePeriodSeconds": "0"})
        killed = time.monotonic()
        watch.forget(busiest)
        crowd.gateways = others
        eventually(crowd.share_alike, RESPLIT_SECONDS, "two gateways share the engines")
        figures.add("gateway_killed_to_resplit_seconds", round(time.monotonic() - killed, 2))
        # Its clients go to the others.
        crowd.stacks.pop(0).close()
        lost = [each for each in crowd.loads.pop(0).failed if each.started < killed]
        for gateway in others:
            crowd.ask(gateway, CLIENTS[0] // 2)
        eventually(lambda: len(site.pods("gateway")) == len(CLIENTS), RECOVERY_SECONDS, "another")
        ready = time.monotonic()
        known = {pod["metadata"]["uid"] for pod in others}
        [new] = [pod for pod in site.pods("gateway") if pod["metadata"]["uid"] not in known]
        crowd.gateways = [*others, new]
        eventually(crowd.share_alike, RESPLIT_SECONDS, "three gateways share the engines again")
        figures.add("gateway_ready_to_resplit_seconds", round(time.monotonic() - ready, 2))
        # It gets its part back from those who have it.
        crowd.ask(new, CLIENTS[1])

    judge(watch, figures, "one_killed")
    figures.add("gateway_killed_requests_lost", len(lost))
    crowd.assert_complete()
