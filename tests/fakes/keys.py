"""Keys files, and gateways that read them."""

from pathlib import Path
from typing import Any

from alise_gateway.identity.keys import hash_key


def keys_file(path: Path, **tenants: tuple[str, dict[str, Any]]) -> None:
    """Write a keys file.

    Args:
        path: Where.
        tenants: Tenant to its key and to further fields of its entry.
    """
    rows = []
    for name, (key, fields) in tenants.items():
        extra = "".join(f", {field}: {value}" for field, value in fields.items())
        rows.append(f"  - {{id: {name}, keys: [{{hash: '{hash_key(key)}'}}]{extra}}}")
    path.write_text("tenants:\n" + "\n".join(rows) + "\n")


def identity(keys: Path, reload_seconds: float = 80_000) -> dict[str, Any]:
    """Settings of a gateway that reads it, by itself once."""
    return {"keys_file": keys, "reload_seconds": reload_seconds}
