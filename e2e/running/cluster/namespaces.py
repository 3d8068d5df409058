"""Namespaces that scenarios have to themselves."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from running.cluster.api import Api

MOST_CHARACTERS = 40
READY_SECONDS = 30.0
_NUMBERS = itertools.count(1)


@contextmanager
def namespaces(api: Api, words: str) -> Iterator[str]:
    """A namespace while the block runs, named after some words."""
    short = words.replace("_", "-")[:MOST_CHARACTERS].rstrip("-")
    name = make_namespace(api, f"{short}-{next(_NUMBERS)}".lower())
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


def make_namespace(api: Api, name: str) -> str:
    """Create a namespace and wait for its ServiceAccount."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    api.wait(
        f"/api/v1/namespaces/{name}/serviceaccounts/default",
        lambda account: bool(account.get("secrets")),
        READY_SECONDS,
        "the namespace has its ServiceAccount",
    )
    return name
