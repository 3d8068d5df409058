"""Everything that helps to see why a scenario failed, as text."""

from pathlib import Path

import yaml

from running.cluster.api import Api, Object

KINDS = (
    "/api/v1/pods",
    "/api/v1/services",
    "/api/v1/endpoints",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/alise.dev/v1alpha1/modelpools",
    "/apis/alise.dev/v1alpha1/schedulingpolicies",
    "/apis/alise.dev/v1alpha1/kvcachepolicies",
    "/apis/alise.dev/v1alpha1/tenants",
)
SYSTEM = {"kube-system", "kube-public", "kube-node-lease", "default"}
TAIL_LINES = 60
OWN_LOGS = ("node-agent", "kubelet", "kube-proxy", "names", "containerd")


def sections(api: Api, logs: Path) -> list[tuple[str, str]]:
    """Title and text of each part; the whole of it is written to ``logs/dump.yaml`` as well."""
    objects = {kind: _of_tests(api, kind) for kind in KINDS}
    whole = yaml.safe_dump(objects, sort_keys=False)
    (logs / "dump.yaml").write_text(whole, encoding="utf-8")
    found = [("events", _events(api)), ("pods", _pods(objects["/api/v1/pods"]))]
    for kind in KINDS[6:]:
        text = "\n".join(_state(item) for item in objects[kind])
        found.append((kind.rpartition("/")[2], text))
    files = [*(logs / f"{name}.log" for name in OWN_LOGS), *sorted((logs / "pods").glob("*.log"))]
    # A kubelet gives each container a directory.
    files += sorted((logs / "node/pods").glob("*/*/*.log"))
    found += [(str(path.relative_to(logs)), _tail(path)) for path in files if path.exists()]
    return [*found, ("all logs and objects", f"{logs}\n")]


def _of_tests(api: Api, kind: str) -> list[Object]:
    found = api.find(kind)
    items = [] if found is None else found["items"]
    for item in items:
        item["metadata"].pop("managedFields", None)
    return [item for item in items if item["metadata"].get("namespace") not in SYSTEM]


def _events(api: Api) -> str:
    found = api.find("/api/v1/events") or {"items": []}
    items = sorted(found["items"], key=lambda item: str(item.get("lastTimestamp")))
    return "\n".join(
        f"{item.get('lastTimestamp')} {item['metadata']['namespace']} "
        f"{item['involvedObject'].get('kind')}/{item['involvedObject'].get('name')} "
        f"{item.get('reason')}: {item.get('message')}"
        for item in items[-TAIL_LINES:]
    )


def _pods(pods: list[Object]) -> str:
    lines = []
    for pod in pods:
        status = pod.get("status", {})
        ready = [each.get("ready") for each in status.get("containerStatuses", [])]
        lines.append(
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']} {status.get('phase')} "
            f"{status.get('podIP')} ready={ready} {status.get('message') or ''}"
        )
    return "\n".join(lines)


def _state(item: Object) -> str:
    name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
    return yaml.safe_dump({name: item.get("status")}, sort_keys=False)


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
