"""Wire constants have the form that their readers rely on."""

from alise_core.wire import engine_metrics, headers
from alise_core.wire.openai import ANTHROPIC_ENDPOINTS, PATHS, Endpoint


def test_header_names_are_lower_case_bytes() -> None:
    single = [value for value in vars(headers).values() if isinstance(value, bytes)]
    names = {*single, *headers.CLIENT_SCHEDULING, *headers.HOP_BY_HOP}

    assert names
    assert [name for name in names if name != name.lower() or b" " in name] == []


def test_client_may_not_send_the_priority_that_the_gateway_sends() -> None:
    assert headers.VLLM_PRIORITY in headers.CLIENT_SCHEDULING


def test_every_endpoint_has_one_path() -> None:
    assert sorted(PATHS.values()) == sorted(Endpoint)
    assert [path for path in PATHS if not path.startswith(b"/v1/")] == []
    assert set(Endpoint) >= ANTHROPIC_ENDPOINTS


def test_engine_metrics_are_vllms_and_distinct() -> None:
    names = [
        value
        for key, value in vars(engine_metrics).items()
        if key.isupper() and isinstance(value, str)
    ]

    assert len(names) == len(set(names)) > 10
    assert [name for name in names if not name.startswith("vllm:")] == []
