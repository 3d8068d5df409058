import pytest
from hypothesis import given
from hypothesis import strategies as st

from alise_gateway.discovery.plugin import NO_ROUTE, PluginAnswer, parse_ready

NAMED = b'{"plugin": "alise", "ready": false, "reason": "draining", "in_progress": 3}'


@pytest.mark.parametrize("status", [200, 503])
def test_the_plugin_names_itself(status: int) -> None:
    assert parse_ready(status, NAMED) == PluginAnswer(True, status == 503, has_plugin=True)


def test_it_says_whether_the_engine_orders_what_it_holds() -> None:
    assert parse_ready(200, b'{"plugin": "alise", "orders": true}').orders_itself
    assert not parse_ready(200, b'{"plugin": "alise", "orders": false}').orders_itself
    assert not parse_ready(200, NAMED).orders_itself
    assert not parse_ready(200, b'{"orders": true}').orders_itself


@given(st.integers(100, 599), st.binary())
def test_nothing_else_is_taken_for_it(status: int, body: bytes) -> None:
    found = parse_ready(status, body)

    assert not found.has_plugin
    assert found.is_draining is (status == 503)
    assert found.has_route is (status in {200, 503})


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"plugin": 7}', b'{"plugin": "Alise"}', b"null"]
)
def test_odd_json_is_not_either(body: bytes) -> None:
    assert not parse_ready(200, body).has_plugin
    assert parse_ready(404, NAMED) == NO_ROUTE
