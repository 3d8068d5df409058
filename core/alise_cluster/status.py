"""Writing a status subresource without overwriting what others have written meanwhile."""

from collections.abc import Callable, Mapping
from typing import Any

from alise_cluster.client import ClusterClient
from alise_cluster.errors import CONFLICT, ApiError
from alise_cluster.resources import RawObject, Resource, key_of, metadata
from alise_core.crds.names import ObjectKey

_ATTEMPTS = 5


async def change_status(
    client: ClusterClient,
    resource: Resource,
    seen: RawObject,
    wanted: Callable[[RawObject], RawObject | None],
) -> bool:
    """Bring an object's status into the wanted form; nothing is sent where it is in it already.

    The write names the version that was looked at. Where somebody else was faster, the object is
    read again and ``wanted`` is asked again, so that lists that several controllers share (an
    InferencePool's ``status.parents``) lose nothing.

    Args:
        client: Of the cluster.
        resource: Which collection.
        seen: The object as it was seen last; may be old.
        wanted: From the object to its whole status; ``None`` leaves it as it is.

    Returns: Whether something was written.

    Raises:
        ApiError: 404 where the object is gone, 409 where others are faster again and again.
        Unreachable: The server does not answer.
    """
    key, raw = key_of(seen), seen
    for attempt in range(_ATTEMPTS):
        status = wanted(raw)
        if status is None:
            return False
        patch = merge_patch(_status(raw), status)
        if not patch:
            return False
        try:
            await _send(client, resource, key, raw, patch)
        except ApiError as error:
            if error.status != CONFLICT or attempt == _ATTEMPTS - 1:
                raise
            raw = await client.get(resource, key.namespace or None, key.name)
        else:
            return True
    raise AssertionError("unreachable")


async def _send(
    client: ClusterClient, resource: Resource, key: ObjectKey, raw: RawObject, patch: RawObject
) -> None:
    body: dict[str, Any] = {"status": patch}
    meta = metadata(raw)
    # The uid too: an object of the same name that was made anew is another one.
    body["metadata"] = {name: meta[name] for name in ("resourceVersion", "uid") if name in meta}
    await client.merge(resource, key.namespace or None, key.name, body, "status")


def _status(raw: RawObject) -> RawObject:
    found = raw.get("status")
    return found if isinstance(found, Mapping) else {}


def merge_patch(before: RawObject, after: RawObject) -> dict[str, Any]:
    """The smallest merge patch (RFC 7396) from one mapping to another; empty where they agree.

    ``None`` in ``after`` is absence. Lists are replaced as a whole.
    """
    patch: dict[str, Any] = {name: None for name in before if after.get(name) is None}
    for name, value in after.items():
        old = before.get(name)
        if value is None or value == old:
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            patch[name] = merge_patch(old, value)
        else:
            patch[name] = value
    return patch
