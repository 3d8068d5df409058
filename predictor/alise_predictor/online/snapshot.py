"""Learned state as bytes and back: a header, a table of contents in JSON, and plain arrays.

No pickle and nothing that executes: bytes from a disk are input like any other. A SHA-256 over
everything makes a damaged snapshot a refused one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np

from alise_core.errors import AliseError
from alise_predictor.online.state import State

MAGIC = b"ALISE-ONLINE\x00\x01"
"""The last byte is the version of the format."""

_KINDS = {
    "float32": "<f4",
    "float64": "<f8",
    "int64": "<i8",
    "uint8": "|u1",
    "uint16": "<u2",
    "uint32": "<u4",
}
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8
_HEADER_BYTES = len(MAGIC) + _DIGEST_BYTES + _LENGTH_BYTES


class SnapshotError(AliseError):
    """Bytes are not a snapshot that can be restored; what had been learned until now stays."""


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """What was learned of one (tenant, model)."""

    tenant: str
    model: str
    state: State


def pack(artifact: str, keys: list[KeySnapshot]) -> bytes:
    """One snapshot.

    Args:
        artifact: Identity of the model whose errors were learned.
        keys: In the order in which they were used, the oldest first.
    """
    contents, blobs = [], []
    for key in keys:
        table = [[name, array.dtype.name, list(array.shape)] for name, array in key.state.items()]
        contents.append({"tenant": key.tenant, "model": key.model, "arrays": table})
        blobs += [a.astype(_KINDS[a.dtype.name], copy=False).tobytes() for a in key.state.values()]
    head = json.dumps({"artifact": artifact, "keys": contents}).encode()
    body = len(head).to_bytes(_LENGTH_BYTES, "big") + head + b"".join(blobs)
    return MAGIC + sha256(MAGIC + body).digest() + body


def unpack(data: bytes, artifact: str) -> list[KeySnapshot]:
    """The keys of a snapshot, in the order given to ``pack``.

    Args:
        data: What ``pack`` wrote.
        artifact: The model in use; errors of another one must not correct it.

    Raises:
        SnapshotError: Anything about the bytes is not as it should be.
    """
    if len(data) < _HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
        raise SnapshotError("not a snapshot of this version; start without it")
    digest, body = data[len(MAGIC) :][:_DIGEST_BYTES], data[len(MAGIC) + _DIGEST_BYTES :]
    if sha256(MAGIC + body).digest() != digest:
        raise SnapshotError("snapshot is damaged (checksum); start without it")
    length = int.from_bytes(body[:_LENGTH_BYTES], "big")
    try:
        head = json.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + length])
        if head["artifact"] != artifact:
            raise SnapshotError(
                f"snapshot belongs to model {str(head['artifact'])[:80]!r}, in use is "
                f"{artifact[:80]!r}; start without it"
            )
        return _read_keys(head["keys"], memoryview(body)[_LENGTH_BYTES + length :])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SnapshotError("snapshot's contents are not as documented") from error


def _read_keys(contents: list[Mapping[str, Any]], rest: memoryview) -> list[KeySnapshot]:
    keys, start = [], 0
    for entry in contents:
        state: State = {}
        for name, kind, shape in entry["arrays"]:
            form = np.dtype(_KINDS[str(kind)])
            extent = [int(size) for size in shape]
            end = start + prod(extent) * form.itemsize
            array = np.frombuffer(rest[start:end], form).reshape(extent)
            state[str(name)] = array.astype(form.newbyteorder("="))
            start = end
        keys.append(KeySnapshot(str(entry["tenant"]), str(entry["model"]), state))
    if start != len(rest):
        raise ValueError("bytes left over")
    return keys
