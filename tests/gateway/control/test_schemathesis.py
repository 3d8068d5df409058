"""The OpenAPI document keeps its word, on both ports and with the token."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.openapi import from_asgi

from alise_gateway.control.api import create_control_app
from fakes.control import FakeControlView

pytestmark = pytest.mark.slow

TOKEN = "admin-secret"

inference = from_asgi("/openapi.json", create_control_app(FakeControlView(), admin=False))
administration = from_asgi(
    "/openapi.json", create_control_app(FakeControlView(), admin=True, admin_token=TOKEN)
)
bounded = settings(
    max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@inference.parametrize()
@bounded
def test_inference_port(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()


@administration.parametrize()
@bounded
def test_admin_port(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})
