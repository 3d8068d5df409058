"""What scenarios rely on holds of the pods of this cluster: its nodes do their part."""

import httpx

from running.cluster import objects
from running.cluster.cluster import Cluster
from running.cluster.rollout import ready_pods, scale, wait_until_rolled_out
from running.scrape import eventually


def leads_somewhere(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=10).is_success
    except httpx.ConnectError:
        return False


def test_pods_serve_behind_their_service_and_go_when_scaled_down(
    cluster: Cluster, namespace: str
) -> None:
    engines = objects.engines(cluster, namespace, "engine", 2)
    cluster.api.apply(engines, objects.service(namespace, "engine", objects.ENGINE_PORT))
    wait_until_rolled_out(cluster.api, engines)

    url = cluster.url(namespace, "engine", "http")
    # A node's proxy learns of endpoints on its own, at some time after the pods are ready.
    eventually(lambda: leads_somewhere(url), 30, "the Service leads to the pods")
    models = httpx.get(f"{url}/v1/models", timeout=10).json()["data"]
    assert [model["id"] for model in models] == [objects.MODEL]

    scale(cluster.api, engines, 0)
    pods = f"/api/v1/namespaces/{namespace}/pods"
    eventually(lambda: not cluster.api.items(pods), 30, "pods are gone")


def test_a_pod_is_as_its_spec_says(cluster: Cluster, namespace: str) -> None:
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    script = f"""
        test "$(id -u)" = 65532 && test "$(cat /etc/given/name)" = value
        test -s {token} && test "$POD_IP" = "$(hostname -i | cut -d' ' -f1)"
        test "$(hostname)" = checked && ! touch /somewhere && touch /scratch/here
        test "$WORD" = "a value" && ! mount -t tmpfs none /mnt 2> /dev/null
    """
    security = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
    container = {
        "name": "check",
        "image": cluster.image("alise-sim"),
        "command": ["sh", "-exc", script],
        "securityContext": {**security, "capabilities": {"drop": ["ALL"]}},
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "KIND", "value": "value"},
            {"name": "WORD", "value": "a $(KIND)"},
        ],
        "volumeMounts": [
            {"name": "given", "mountPath": "/etc/given"},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    }
    volumes = [{"name": "given", "configMap": {"name": "given"}}]
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "volumes": [*volumes, {"name": "scratch", "emptyDir": {}}],
    }
    metadata = {"name": "checked", "namespace": namespace}
    cluster.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    given = {"name": "given", "namespace": namespace}
    cluster.api.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": given, "data": {"name": "value"}}
    )

    cluster.api.wait(
        f"/api/v1/namespaces/{namespace}/pods/checked",
        lambda pod: pod.get("status", {}).get("phase") == "Succeeded",
        30,
        "the script in the pod succeeds",
    )


def test_an_engine_that_is_ended_finishes_its_stream(cluster: Cluster, namespace: str) -> None:
    engines = objects.engines(cluster, namespace, "engine", 1)
    cluster.api.apply(engines)
    wait_until_rolled_out(cluster.api, engines)
    [pod] = ready_pods(cluster.api, namespace, {"app": "engine"})
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    body = {"model": objects.MODEL, "prompt": "x", "max_tokens": 100, "stream": True}

    url = f"http://{address}:{objects.ENGINE_PORT}/v1/completions"
    with httpx.stream("POST", url, json={**body, "ignore_eos": True}, timeout=60) as answer:
        lines = answer.iter_lines()
        next(lines)
        cluster.api.delete(f"/api/v1/namespaces/{namespace}/pods/{name}")
        said = [line for line in lines if line]

    assert said[-1] == "data: [DONE]"
