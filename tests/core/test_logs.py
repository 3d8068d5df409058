import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
import structlog

from alise_core.logs import configure_logging


@pytest.fixture
def stream() -> Iterator[StringIO]:
    """A configured log; the process's logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = StringIO()
    configure_logging("info", stream)
    yield stream
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def only_line(stream: StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_structlog_lines_are_json_with_context(stream: StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r1")
    structlog.get_logger("alise_gateway.app").info("started", port=8080)
    line = only_line(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo == UTC
    assert line == {
        "event": "started",
        "level": "info",
        "logger": "alise_gateway.app",
        "port": 8080,
        "request_id": "r1",
    }


def test_other_libraries_lines_have_the_same_keys(stream: StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("listening on %s", "127.0.0.1:8080")
    line = only_line(stream)
    assert set(line) == {"timestamp", "level", "event", "logger"}
    assert line["event"] == "listening on 127.0.0.1:8080"
    assert (line["level"], line["logger"]) == ("warning", "uvicorn.error")


def test_handlers_of_uvicorn_do_not_repeat_lines(stream: StringIO) -> None:
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(stream))
    configure_logging("info", stream)
    logging.getLogger("uvicorn.error").error("once")
    assert only_line(stream)["event"] == "once"


def test_foreign_text_is_cut(stream: StringIO) -> None:
    logging.getLogger("some.library").error("x" * 10_000)
    assert only_line(stream)["event"] == "x" * 253 + "..."


def test_exceptions_show_type_place_and_cut_text(stream: StringIO) -> None:
    prompt = "secret prompt"
    try:
        raise ValueError("y" * 1_000)
    except ValueError:
        structlog.get_logger("a").exception("failed")
    line = only_line(stream)
    assert (line["exception"], line["error"]) == ("ValueError", "y" * 253 + "...")
    assert line["stack"][-1].endswith("test_exceptions_show_type_place_and_cut_text")
    assert prompt not in stream.getvalue()


def test_exceptions_of_other_libraries_look_alike(stream: StringIO) -> None:
    logging.getLogger("asyncio").error("task failed", exc_info=RuntimeError("boom"))
    line = only_line(stream)
    assert (line["event"], line["exception"], line["error"]) == (
        "task failed",
        "RuntimeError",
        "boom",
    )


def test_levels_below_are_silent(stream: StringIO) -> None:
    structlog.get_logger("a").debug("no")
    logging.getLogger("b").debug("no")
    logging.getLogger("httpx").info("HTTP Request: GET http://backend/health")
    logging.getLogger("uvicorn.access").info("GET /healthz")
    logging.getLogger("aiohttp.access").info("GET /healthz")
    assert stream.getvalue() == ""


def test_text_that_utf8_cannot_hold_is_still_a_line(stream: StringIO) -> None:
    structlog.get_logger("a").info("odd", value="\udc80")
    assert only_line(stream)["value"] == "?"


def test_values_json_does_not_know_are_text(stream: StringIO) -> None:
    structlog.get_logger("a").info("odd", value=1 + 2j)
    assert only_line(stream)["value"] == "(1+2j)"


def test_an_exception_being_handled_is_shown_by_the_standard_library_too(stream: StringIO) -> None:
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("b").exception("failed")
    assert only_line(stream)["exception"] == "KeyError"


def test_no_exception_is_no_field(stream: StringIO) -> None:
    logging.getLogger("b").error("fine", exc_info=True)
    structlog.get_logger("b").error("fine", exc_info=True)
    for line in stream.getvalue().splitlines():
        assert "exception" not in json.loads(line)
