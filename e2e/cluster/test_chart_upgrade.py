"""``helm upgrade``, ``helm rollback``: settings change and change back, secrets stay."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from running.cluster.installation import Installation

OPEN = {"identity": {"allow_anonymous": True}}


def token(site: Installation) -> bytes:
    secret = site.api.read(f"/api/v1/namespaces/{site.namespace}/secrets/alise-gateway-admin")
    return base64.b64decode(secret["data"]["token"])


def settings(site: Installation) -> str:
    return str(
        site.api.read(f"/api/v1/namespaces/{site.namespace}/configmaps/alise-gateway")["data"][
            "gateway.yaml"
        ]
    )


def chat(site: Installation) -> None:
    with site.client() as client:
        models = [model.id for model in client.models.list()]
        answer = client.chat.completions.create(
            model=models[0], messages=[{"role": "user", "content": "Hello."}], max_tokens=5
        )
        assert answer.choices[0].message.content


def test_upgrade_and_rollback(
    install: Callable[[int, Mapping[str, Any]], Installation],
) -> None:
    site = install(1, {"gateway": {"config": OPEN}})
    before, made = settings(site), token(site)
    assert len(made) == 48

    changed = {"gateway": {"config": {**OPEN, "queue": {"ttl_seconds": 7}}}}
    site.release.upgrade({**site.values, **changed})
    site.release.wait()

    assert "ttl_seconds: 7" in settings(site)
    assert token(site) == made
    chat(site)

    site.release.rollback()
    site.release.wait()

    assert settings(site) == before
    assert token(site) == made
    assert [item["revision"] for item in site.release.history()] == [1, 2, 3]
    chat(site)
