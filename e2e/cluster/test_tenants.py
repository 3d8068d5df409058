"""Keys come from Secrets, and are changed without a gap."""

from collections.abc import Mapping

import openai

from running.cluster.api import Object, condition, path_of
from running.cluster.installation import Installation
from running.cluster.load import COMPLETE, load
from running.cluster.objects import alise
from running.scrape import eventually

SECRET = "alise-tenant-keys"
OLD, NEW = "sk-test-the-old-key", "sk-test-the-new-key"


def secret(namespace: str, keys: Mapping[str, str]) -> Object:
    metadata = {"name": SECRET, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(keys)}


def is_let_in(site: Installation, key: str) -> bool:
    with site.client(key) as client:
        try:
            client.models.list()
        except openai.AuthenticationError:
            return False
        return True


def test_a_key_is_rotated_under_load(other: Installation) -> None:
    site = other
    assert not is_let_in(site, OLD)
    keys = secret(site.namespace, {"first": OLD})
    tenant = alise("Tenant", site.namespace, "team", {"apiKeySecretRefs": [{"name": SECRET}]})
    site.api.create(tenant)
    site.api.create(keys)
    eventually(lambda: is_let_in(site, OLD), 10, "the key counts")

    with load(site.url, clients=2, key=OLD) as old:
        site.api.patch(path_of(keys), {"stringData": {"second": NEW}})
        eventually(lambda: is_let_in(site, NEW), 5, "the new key counts as well")
        with load(site.url, clients=2, key=NEW) as new:
            old.more(2)
    assert set(old.counts) == {COMPLETE}
    with load(site.url, clients=2, key=NEW) as after:
        site.api.patch(path_of(keys), {"data": {"first": None}})
        eventually(lambda: not is_let_in(site, OLD), 5, "the old key counts no more")
        after.more(4)

    assert set(new.counts) == set(after.counts) == {COMPLETE}
    told = site.api.wait(
        path_of(tenant),
        lambda item: condition(item, "ResolvedRefs").get("status") == "True",
        70,
        "the operator has found the Secret",
    )
    assert NEW not in str(told)
    assert all(NEW not in log.read_text("utf-8") for log in site.cluster.pod_logs(site.namespace))
    site.api.delete(path_of(tenant))
    site.api.delete(path_of(keys))
