"""What a person would type to do the same. Pure.

Values come from a validated policy and from names of Kubernetes objects; all are quoted.
"""

import json
from collections.abc import Iterable
from shlex import quote

from alise_operator.tuning.observed import Observed, Workload
from alise_operator.tuning.plan import Action, SetDtype, SetTierBytes, Tune

_ARGUMENT = "--kv-cache-dtype"
MEMORY_FACTOR = 1.2
"""Memory around a host tier by its size. Source: KServe's KV offloading sizes ``/dev/shm`` and the
memory limit so (opendatahub-io/kserve#1842)."""
_TOKEN = "${ALISE_ADMIN_TOKEN:-$(cat /etc/alise/token 2>/dev/null)}"
"""Where docs/engine.md puts the admin token; it never leaves the pod."""


def commands_for(observed: Observed, actions: Iterable[Action]) -> tuple[str, ...]:
    """A command for each action."""
    return tuple(_command(observed, action) for action in actions)


def _command(observed: Observed, action: Action) -> str:
    match action:
        case Tune():
            return _tune(observed.namespace, action)
        case SetDtype():
            return _set_dtype(observed, action)
        case SetTierBytes():
            return _set_tier_bytes(observed, action)


def _tune(namespace: str, action: Tune) -> str:
    body = json.dumps(action.changes)
    inner = (
        f'curl -fsS -H "Authorization: Bearer {_TOKEN}" -d {quote(body)} localhost:8000/alise/tune'
    )
    return f"kubectl -n {quote(namespace)} exec {quote(action.pod)} -- sh -c {quote(inner)}"


def _set_dtype(observed: Observed, action: SetDtype) -> str:
    workload = observed.workload
    argument = f"{_ARGUMENT}={action.dtype}"
    if workload is None:
        return (
            f"# what owns the pods of {observed.pool} is not known: "
            f"start vLLM there with {argument}"
        )
    target = quote(f"{workload.kind.lower()}/{workload.name}")
    namespace = quote(observed.namespace)
    if not workload.listed:
        return f"kubectl -n {namespace} edit {target}  # vLLM has to get {argument}"
    patch = json.dumps([_operation(workload, argument)])
    return f"kubectl -n {namespace} patch {target} --type=json -p {quote(patch)}"


def _set_tier_bytes(observed: Observed, action: SetTierBytes) -> str:
    """One word holds more than the size, and memory goes with it: an editor's work."""
    more = action.tier_bytes - action.before_bytes
    what = (
        f"alise.tier.capacity_bytes of --additional-config {action.tier_bytes}, and the "
        f"container's memory {more * MEMORY_FACTOR:+.0f} bytes"
    )
    workload = observed.workload
    if workload is None:
        return f"# what owns the pods of {observed.pool} is not known: there {what}"
    target = quote(f"{workload.kind.lower()}/{workload.name}")
    return f"kubectl -n {quote(observed.namespace)} edit {target}  # {what}"


def _operation(workload: Workload, argument: str) -> dict[str, object]:
    home = f"/spec/template/spec/containers/{workload.container}/args"
    if workload.dtype_argument is None:
        return {"op": "add", "path": f"{home}/-", "value": argument}
    return {"op": "replace", "path": f"{home}/{workload.dtype_argument}", "value": argument}
