"""An installation under test, with the engines behind it."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import httpx
import openai

from running.cluster.api import Api, Object
from running.cluster.cluster import Cluster
from running.cluster.helm import CHART, Release
from running.cluster.rollout import ready_pods
from running.scrape import Samples, eventually, scrape

ENDPOINT_SECONDS = 60.0
ADMIN_PORT = 8081
OPERATOR_PORT = 9090


class Install(Protocol):
    """Installs a chart, ours without a word, in front of some engines."""

    def __call__(
        self, replicas: int, values: Mapping[str, Any], chart: Path = CHART
    ) -> "Installation": ...


@dataclass(frozen=True)
class Installation:
    """One release and its engines."""

    cluster: Cluster
    release: Release
    engines: Object
    values: Mapping[str, Any]

    @property
    def api(self) -> Api:
        return self.cluster.api

    @property
    def namespace(self) -> str:
        return self.release.namespace

    @property
    def url(self) -> str:
        """What an OpenAI client takes as base URL: through the gateway's Service."""
        service = f"{self.release.prefix}-gateway"
        return f"{self.cluster.url(self.namespace, service, 'http')}/v1"

    def pods(self, component: str) -> list[Object]:
        """Ready pods of the gateway or the operator."""
        return ready_pods(self.api, self.namespace, self.release.labels(component))

    def admin(self, path: str) -> list[Any]:
        """What each ready gateway answers on its admin port."""
        return [self.ask(pod, path) for pod in self.pods("gateway")]

    def ask(self, pod: Object, path: str) -> Any:
        """What one gateway answers on its admin port."""
        url = f"http://{pod['status']['podIP']}:{ADMIN_PORT}{path}"
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        return httpx.get(url, headers=headers, timeout=10).raise_for_status().json()

    def metrics(self) -> list[Samples]:
        """An exposition of each ready gateway."""
        pods = self.pods("gateway")
        return [scrape(f"http://{pod['status']['podIP']}:{ADMIN_PORT}/metrics") for pod in pods]

    def operator_metrics(self, pod: Object) -> Samples:
        """An exposition of one operator."""
        return scrape(f"http://{pod['status']['podIP']}:{OPERATOR_PORT}/metrics")

    @cached_property
    def admin_token(self) -> str:
        """Of the admin port, from the Secret that the chart made; read once."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets"
        secret = self.api.read(f"{path}/{self.release.prefix}-gateway-admin")
        return base64.b64decode(secret["data"]["token"]).decode()

    def usable(self, pod: Object) -> set[str]:
        """Endpoints that one gateway would send requests to."""
        backends = self.ask(pod, "/alise/backends")["backends"]
        return {each["name"] for each in backends if each["usable"]}

    def wait_for_endpoints(self, number: int, seconds: float = ENDPOINT_SECONDS) -> None:
        """Until every ready gateway may send to so many endpoints."""
        eventually(
            lambda: (
                bool(self.pods("gateway"))
                and all(len(self.usable(pod)) == number for pod in self.pods("gateway"))
            ),
            seconds,
            f"every gateway has {number} endpoints",
        )

    def install_again(self) -> None:
        """``helm install`` after an uninstall."""
        self.release.install(self.values)
        # The chart has made another.
        vars(self).pop("admin_token", None)
        self.wait_for_endpoints(len(ready_pods(self.api, self.namespace, {"app": "engine"})))

    @contextmanager
    def client(self, key: str = "unused") -> Iterator[openai.OpenAI]:
        """The official client, without retries."""
        with openai.OpenAI(base_url=self.url, api_key=key, max_retries=0) as made:
            yield made
