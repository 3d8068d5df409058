"""Waiting for what controllers do."""

import time

from running.cluster.api import Api, Object, condition, path_of

ROLLOUT_SECONDS = 150.0


def wait_until_rolled_out(api: Api, deployment: Object) -> None:
    """Every pod of a Deployment is of its newest template and ready, and no other is left."""

    def done(now: Object) -> bool:
        status, wanted = now.get("status", {}), now["spec"]["replicas"]
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
        current = status.get("observedGeneration", 0) >= now["metadata"]["generation"]
        return current and counts == [wanted] * 3

    api.wait(path_of(deployment), done, ROLLOUT_SECONDS, "rolled out")


def ready_pods(api: Api, namespace: str, labels: dict[str, str]) -> list[Object]:
    """Pods that serve and are not about to end."""
    return [
        pod
        for pod in api.items(f"/api/v1/namespaces/{namespace}/pods", labels)
        if "deletionTimestamp" not in pod["metadata"]
        and condition(pod, "Ready").get("status") == "True"
    ]


def scale(api: Api, deployment: Object, replicas: int) -> None:
    """Ask for another number of pods; does not wait."""
    api.patch(f"{path_of(deployment)}/scale", {"spec": {"replicas": replicas}})


def seconds_until_told(api: Api, path: str, spec: Object, patience_seconds: float) -> float:
    """Change an object's spec; how long until its status says that the operator has seen that."""
    changed = api.patch(path, {"spec": spec})
    written, generation = time.monotonic(), changed["metadata"]["generation"]
    api.wait(
        path,
        lambda item: item.get("status", {}).get("observedGeneration") == generation,
        patience_seconds,
        "the operator has seen the change",
    )
    return time.monotonic() - written
