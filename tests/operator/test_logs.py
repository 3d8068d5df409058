import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from alise_operator.logs import configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_object_with_the_common_keys_first(stream: io.StringIO) -> None:
    structlog.get_logger("alise_operator").info("leading", lease="ns/alise")

    (line,) = lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert (line["event"], line["lease"], line["logger"]) == (
        "leading",
        "ns/alise",
        "alise_operator",
    )


def test_libraries_are_cut_and_kept_quiet(stream: io.StringIO) -> None:
    logging.getLogger("somebody").warning("x" * 1_000)
    logging.getLogger("httpx").info("GET everything")

    (line,) = lines(stream)
    assert len(line["event"]) == 256


def test_exceptions_carry_places_and_no_values(stream: io.StringIO) -> None:
    secret = "sk-very-secret"  # in a frame of the traceback
    try:
        raise ValueError("y" * 1_000)
    except ValueError:
        structlog.get_logger("alise_operator").exception("crashed")

    (line,) = lines(stream)
    assert line["exception"] == "ValueError"
    assert len(line["error"]) == 256
    assert any("test_logs.py" in place for place in line["stack"])
    assert secret not in stream.getvalue()


def test_levels_below_are_left_out(stream: io.StringIO) -> None:
    structlog.get_logger("alise_operator").debug("status_written")

    assert lines(stream) == []
