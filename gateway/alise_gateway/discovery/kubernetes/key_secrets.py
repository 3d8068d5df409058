"""What Secrets hold. Pure; nothing here shows a value."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from alise_cluster.resources import RawObject, metadata
from alise_core.crds.base import SecretRef
from alise_core.crds.names import ObjectKey

LEAST_KEY_CHARS = 16
"""A shorter key can be guessed over the network."""
_MOST_KEY_CHARS = 4_096
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class Readable(StrEnum):
    """What is known of a Secret that was asked for."""

    UNKNOWN = "unknown"
    """The API server has not answered yet."""
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Secret:
    """One Secret.

    Attributes:
        readable: Whether ``entries`` means anything.
        entries: Values by name.
    """

    readable: Readable = Readable.UNKNOWN
    entries: Mapping[str, bytes] = field(default_factory=dict, repr=False)


Secrets = Mapping[ObjectKey, Secret]


class UnusableSecret(Exception):
    """A Secret does not hold what it should; the text says so without the value."""


class NotReadYet(UnusableSecret):
    """Nobody knows yet: no reason to complain."""


def trim_secret(raw: RawObject) -> RawObject:
    """The fields that ``read_secret`` reads."""
    meta = metadata(raw)
    kept = ("name", "namespace", "uid", "resourceVersion")
    return {
        "metadata": {name: meta[name] for name in kept if name in meta},
        "data": raw.get("data"),
    }


def read_secret(raw: RawObject) -> Secret:
    """Understand a Secret; entries that are not base64 are left out."""
    data = raw.get("data")
    entries: dict[str, bytes] = {}
    for name, value in (data if isinstance(data, Mapping) else {}).items():
        try:
            entries[str(name)] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            continue
    return Secret(Readable.PRESENT, entries)


def entries_of(secret: Secret, ref: SecretRef) -> Mapping[str, bytes]:
    """The entries that a reference means.

    Raises:
        UnusableSecret: The Secret cannot be read or lacks the entry.
    """
    match secret.readable:
        case Readable.UNKNOWN:
            raise NotReadYet(f"Secret {ref.name} was not read yet")
        case Readable.FORBIDDEN:
            raise UnusableSecret(f"Secret {ref.name} may not be read; grant it by resourceNames")
        case Readable.MISSING:
            raise UnusableSecret(f"Secret {ref.name} does not exist; create it")
        case Readable.PRESENT:
            pass
    if ref.key is None:
        if not secret.entries:
            raise UnusableSecret(f"Secret {ref.name} has no entry")
        return secret.entries
    if ref.key not in secret.entries:
        raise UnusableSecret(f"Secret {ref.name} has no entry {ref.key}")
    return {ref.key: secret.entries[ref.key]}


def one_key(secret: Secret, ref: SecretRef) -> str:
    """The one key that a reference means.

    Raises:
        UnusableSecret: There is none, or more than one, or it cannot be sent in a header.
    """
    entries = entries_of(secret, ref)
    if len(entries) > 1:
        raise UnusableSecret(f"Secret {ref.name} has several entries; say which one with key")
    ((name, value),) = entries.items()
    return _key_text(value, f"entry {name} of Secret {ref.name}")


def key_digest(value: bytes, what: str) -> bytes:
    """The SHA-256 of a key that clients present, from the key itself or from its hash.

    Args:
        value: ``sha256:`` and 64 hex digits, or the key.
        what: How messages call it.

    Raises:
        UnusableSecret: It is neither.
    """
    text = _key_text(value, what)
    found = _HASH.fullmatch(text)
    if found is not None:
        return bytes.fromhex(found[1])
    if text.startswith("sha256:"):
        raise UnusableSecret(f"{what} must have 64 lower-case hex digits after sha256:")
    if len(text) < LEAST_KEY_CHARS:
        raise UnusableSecret(f"{what} is shorter than {LEAST_KEY_CHARS} characters; make it longer")
    return hashlib.sha256(text.encode()).digest()


def _key_text(value: bytes, what: str) -> str:
    try:
        text = value.decode("ascii").strip()
    except UnicodeDecodeError:
        raise UnusableSecret(f"{what} is not ASCII text") from None
    if not 0 < len(text) <= _MOST_KEY_CHARS or not text.isprintable() or " " in text:
        raise UnusableSecret(f"{what} must be one key: printable characters, no spaces, one line")
    return text
