"""Objects that scenarios create."""

from collections.abc import Sequence

from running.cluster.api import Object
from running.cluster.cluster import Cluster

MODEL = "sim"
ENGINE_PORT = 8000
GRACE_SECONDS = 30
PROBE_SECONDS = 5


def engines(
    cluster: Cluster, namespace: str, name: str, replicas: int, *, extra: Sequence[str] = ()
) -> Object:
    """A Deployment of simulated engines, in the place of vLLM pods.

    A pod that is ended finishes what it has, as ``vllm serve --shutdown-timeout`` does.
    """
    arguments = [f"--port={ENGINE_PORT}", "--host=0.0.0.0", f"--model={MODEL}"]
    arguments += [f"--shutdown-timeout={GRACE_SECONDS}", *extra]
    probe = {"httpGet": {"path": "/health", "port": ENGINE_PORT}, "periodSeconds": 1}
    # All pods and the clients share few cores: an engine that waits for one is not away.
    probe["timeoutSeconds"] = PROBE_SECONDS
    container = {
        "name": "engine",
        "image": cluster.image("alise-sim"),
        "args": arguments,
        "ports": [{"name": "http", "containerPort": ENGINE_PORT}],
        # Of a container that asks for nothing every other goes first.
        "resources": {"requests": {"cpu": "50m"}},
        "readinessProbe": probe,
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": GRACE_SECONDS}
    return deployment(namespace, name, replicas, spec)


def deployment(namespace: str, name: str, replicas: int, pod: Object) -> Object:
    """A Deployment whose pods carry the label ``app: NAME``."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def service(namespace: str, name: str, port: int) -> Object:
    """A Service in front of the pods with the label ``app: NAME``."""
    # Server-side apply of Kubernetes 1.20 does not know the default of ``protocol``.
    ports = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def alise(kind: str, namespace: str, name: str, spec: Object) -> Object:
    """A custom resource of ours."""
    return {
        "apiVersion": "alise.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def model_pool(namespace: str, name: str, app: str, **more: object) -> Object:
    """The pool of the engines with the label ``app: APP``."""
    spec = {"selector": {"matchLabels": {"app": app}}, "targetPorts": [{"number": ENGINE_PORT}]}
    return alise("ModelPool", namespace, name, {**spec, **more})
