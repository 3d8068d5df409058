from collections.abc import MutableMapping
from typing import Any

import httpx

from alise_gateway.control.api import create_control_app
from alise_gateway.domain.request import ALLOWED_MODELS
from fakes.control import FakeControlView


async def test_a_tenant_sees_only_the_models_it_may_use() -> None:
    view = FakeControlView()
    app = create_control_app(view, admin=False)
    shown = view.models()[0].id
    hidden = view.models()[1].id

    async def as_tenant(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await app({**scope, ALLOWED_MODELS: frozenset({shown})}, receive, send)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(as_tenant), base_url="http://gateway"
    ) as http:
        listed = (await http.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == [shown]
        assert (await http.get(f"/v1/models/{shown}")).status_code == 200
        assert (await http.get(f"/v1/models/{hidden}")).status_code == 404
