"""The API server as tests speak to it: JSON in, JSON out, no client classes.

Small on purpose, and not the product's own client: a test must not believe what it checks.
"""

import base64
import contextlib
import json
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

Object = dict[str, Any]
TIMEOUT_SECONDS = 30.0
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
OWNER = "alise-e2e"
CLUSTER_SCOPED = {"namespaces", "nodes", "customresourcedefinitions"}
PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "Endpoints": "endpoints",
    "Ingress": "ingresses",
    "KVCachePolicy": "kvcachepolicies",
    "SchedulingPolicy": "schedulingpolicies",
}
CORE = "v1"


class Api:
    """One client's view of the cluster."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def close(self) -> None:
        self._client.close()

    def ready(self) -> bool:
        """Whether the API server answers that it is ready."""
        try:
            return self._client.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, whatever it says."""
        return self._client.request(method, path, **options)

    def read(self, path: str, **parameters: str) -> Object:
        """Get one object or list; fails with what the server says."""
        return _checked(self._client.get(path, params=parameters))

    def find(self, path: str) -> Object | None:
        """Get one object; ``None`` where there is none or nobody answers."""
        try:
            answer = self._client.get(path)
        except httpx.HTTPError:
            return None
        found: Object | None = answer.json() if answer.status_code == httpx.codes.OK else None
        return found

    def items(self, path: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """List objects, those with these labels only."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        found: list[Object] = self.read(path, labelSelector=selector)["items"]
        return found

    def create(self, item: Object) -> Object:
        return _checked(self._client.post(collection(item), json=item))

    def apply(self, *items: Object) -> None:
        """Server-side apply, as the owner of every field that is named."""
        for item in items:
            answer = self._client.patch(
                path_of(item),
                content=json.dumps(item),
                params={"fieldManager": OWNER, "force": "true"},
                headers={"Content-Type": APPLY},
            )
            _checked(answer)

    def patch(self, path: str, change: Object) -> Object:
        """JSON merge patch."""
        answer = self._client.patch(
            path, content=json.dumps(change), headers={"Content-Type": MERGE}
        )
        return _checked(answer)

    def delete(self, path: str, **options: Any) -> None:
        """Delete one object or all of a collection; nothing when it is not there."""
        answer = self._client.request("DELETE", path, **options)
        if answer.status_code != httpx.codes.NOT_FOUND:
            _checked(answer)

    def watch(self, path: str, seconds: int, **parameters: str) -> Iterator[Object]:
        """Events for so long, from the newest state on."""
        query = {"watch": "1", "timeoutSeconds": str(seconds), **parameters}
        with self._client.stream("GET", path, params=query, timeout=seconds + 10) as answer:
            for line in answer.iter_lines():
                yield json.loads(line)

    def wait(self, path: str, holds: Callable[[Object], bool], seconds: float, what: str) -> Object:
        """Wait until an object exists and is as wished; fails with the object as it is."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.find(path)
            if found is not None and holds(found):
                return found
            if time.monotonic() > deadline:
                shown = yaml.safe_dump((found or {}).get("status", found))
                raise AssertionError(f"not within {seconds:g} s: {what}; {path} is\n{shown}")
            time.sleep(0.05)


def connect(kubeconfig: Path) -> Api:
    """A client with a kubeconfig's certificate or token."""
    settings = connection(kubeconfig)
    return Api(httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, **settings))


def connect_with_token(kubeconfig: Path, token: str) -> Api:
    """A client that is whoever the token belongs to."""
    cluster, _ = _entry(kubeconfig)
    settings = {"base_url": cluster["server"], "verify": _trust(cluster)}
    headers = {"Authorization": f"Bearer {token}"}
    return Api(httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, headers=headers, **settings))


def connection(kubeconfig: Path) -> dict[str, Any]:
    """What an httpx client needs to be a kubeconfig's user."""
    cluster, user = _entry(kubeconfig)
    context = _trust(cluster)
    settings: dict[str, Any] = {"base_url": cluster["server"], "verify": context}
    if "token" in user:
        settings["headers"] = {"Authorization": f"Bearer {user['token']}"}
    elif {"client-certificate", "client-certificate-data"} & user.keys():
        with _file(user, "client-certificate") as certificate, _file(user, "client-key") as key:
            context.load_cert_chain(certificate, key)
    else:
        raise AssertionError(f"{kubeconfig}: the user must have a token or a client certificate")
    return settings


def _trust(cluster: Object) -> ssl.SSLContext:
    with _file(cluster, "certificate-authority") as path:
        return ssl.create_default_context(cafile=path)


@contextlib.contextmanager
def _file(entry: Object, name: str) -> Iterator[str]:
    """Path of what a kubeconfig holds by path or in itself."""
    if f"{name}-data" not in entry:
        yield entry[name]
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(base64.b64decode(entry[f"{name}-data"]))
        file.flush()
        yield file.name


def path_of(item: Object) -> str:
    """Where an object is found."""
    return f"{collection(item)}/{item['metadata']['name']}"


def collection(item: Object) -> str:
    """Where objects of this kind and namespace are listed."""
    return resource(item["apiVersion"], item["kind"], item["metadata"].get("namespace"))


def resource(api_version: str, kind: str, namespace: str | None) -> str:
    """Path of the objects of a kind."""
    plural = PLURALS.get(kind) or kind.lower() + "s"
    root = f"/api/{CORE}" if api_version == CORE else f"/apis/{api_version}"
    if plural in CLUSTER_SCOPED or namespace is None:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{namespace}/{plural}"


def condition(item: Object, kind: str) -> Object:
    """A condition of an object's status; empty when it has none of that type."""
    conditions: Iterable[Object] = item.get("status", {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})


def _entry(kubeconfig: Path) -> tuple[Object, Object]:
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    wanted = config["current-context"]
    context = next(item["context"] for item in config["contexts"] if item["name"] == wanted)
    clusters = {item["name"]: item["cluster"] for item in config["clusters"]}
    users = {item["name"]: item["user"] for item in config["users"]}
    return clusters[context["cluster"]], users[context["user"]]


def _checked(answer: httpx.Response) -> Object:
    assert answer.is_success, f"{answer.request.method} {answer.url}: {answer.text[:2_000]}"
    found: Object = answer.json()
    return found
