"""``alise keys``: make API keys and hash existing ones for the keys file.

A key is shown once, on standard output, and kept nowhere; the keys file gets its hash. Remarks go
to standard error, so that output can be piped.
"""

import argparse
import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from alise_core.errors import ConfigError
from alise_gateway.identity.files import read_file
from alise_gateway.identity.keys import (
    check_tenant_id,
    create_key,
    hash_key,
    load_keys_yaml,
    parse_keys,
)

_MIN_OWN_KEY_CHARS = 32
"""Shorter keys can be guessed from a fast hash; keys from ``create`` have 52 characters."""


def main(arguments: list[str]) -> int:
    """Run ``alise keys``; the exit code is 0 on success.

    Raises:
        ConfigError: The tenant's name, the keys file or the key on standard input is unusable.
    """
    options = _parser().parse_args(arguments)
    if options.action == "create":
        return _create(options)
    return _hash(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alise keys",
        description="API keys of the gateway",
        epilog="What a tenant may use and how soon it is served (allowed_models, may_schedule, "
        "weight, default_class, highest_class, requests_per_minute, tokens_per_minute, "
        "max_waiting, max_in_flight) is edited in the keys file; docs/identity.md says how.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser(
        "create", help="make a key, show it once, and print or store its hash"
    )
    create.add_argument("--tenant", required=True, help="who the key belongs to")
    create.add_argument("--name", help="remark that tells this key from the tenant's others")
    create.add_argument("--expires", help="moment it ends, for example 2027-01-31T12:00:00Z")
    create.add_argument("--file", type=Path, help="keys file to add it to; made when missing")
    hashing = actions.add_parser("hash", help="hash a key read from standard input")
    for action in (create, hashing):
        action.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _create(options: argparse.Namespace) -> int:
    key = create_key()
    entry: dict[str, Any] = {"hash": hash_key(key)}
    entry |= {
        name: getattr(options, name) for name in ("name", "expires") if getattr(options, name)
    }
    tenant = {"id": _checked_tenant(options.tenant), "keys": [entry]}
    snippet = _dump({"tenants": [tenant]})
    parse_keys(snippet.encode(), "to be written")
    if options.file is not None:
        _add_to_file(options.file, options.tenant, entry)
        _remark(f"added to {options.file}; the key is shown this once:")
    if options.json:
        _write(json.dumps({"key": key, "tenant": options.tenant, **entry}) + "\n")
    elif options.file is not None:
        _write(f"{key}\n")
    else:
        _write(f"{key}\n\n{snippet}")
        _remark("the key is shown this once; the YAML belongs into the keys file")
    return 0


def _hash(options: argparse.Namespace) -> int:
    key = sys.stdin.readline().rstrip("\r\n")
    if len(key) < _MIN_OWN_KEY_CHARS or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"the key on standard input must be one line of at least {_MIN_OWN_KEY_CHARS} "
            "printable ASCII characters without spaces; 'alise keys create' makes one"
        )
    hashed = hash_key(key)
    _write((json.dumps({"hash": hashed}) if options.json else hashed) + "\n")
    return 0


def _checked_tenant(name: str) -> str:
    try:
        return check_tenant_id(name)
    except ValueError as error:
        raise ConfigError(f"--tenant {error}") from None


def _add_to_file(path: Path, tenant: str, entry: dict[str, Any]) -> None:
    # What a symlink points to is replaced, not the link.
    target = path.resolve()
    try:
        with _locked(target.parent):
            document = _existing(target)
            _tenant_keys(document, tenant).append(entry)
            content = _dump(document)
            parse_keys(content.encode(), str(path))
            _replace(target, content)
    except OSError as error:
        raise ConfigError(
            f"cannot write keys file {path}: {error.strerror}; check the folder's permissions"
        ) from error


def _existing(target: Path) -> dict[str, Any]:
    if not target.exists():
        return {"tenants": []}
    content = read_file(target, "keys file")
    parse_keys(content, str(target))
    return load_keys_yaml(content, str(target))


def _tenant_keys(document: dict[str, Any], tenant: str) -> list[dict[str, Any]]:
    found = next((known for known in document["tenants"] if known["id"] == tenant), None)
    if found is None:
        found = {"id": tenant}
        document["tenants"].append(found)
    keys: list[dict[str, Any]] = found.setdefault("keys", [])
    return keys


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Two creations at once must not lose one key: its owner has already been shown it.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(target: Path, content: str) -> None:
    # mkstemp creates with mode 0600; the rename shows readers the old file or the new one.
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _dump(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def _write(text: str) -> None:
    sys.stdout.write(text)


def _remark(text: str) -> None:
    sys.stderr.write(f"alise keys: {text}\n")
