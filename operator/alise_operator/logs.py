"""Every line of the process as one JSON object, in the gateway's shape.

structlog is routed through the standard library's root logger, and so are httpx, aiohttp and all
others. Foreign text (exception messages, libraries' lines) is cut: it may quote what a server sent.
"""

import logging
import sys
import traceback
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

FOREIGN_TEXT_CHARS = 256
_FRAMES = 20
_COMMON_KEYS = ("timestamp", "level", "event")
_QUIET = ("httpx", "httpcore", "aiohttp.access")
"""One line per request would bury everything else."""


def configure_logging(level: str, stream: TextIO) -> None:
    """Send all logging of the process to ``stream``; the last call wins.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: Text stream, usually ``sys.stdout``.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _cut_event],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _render_exception,
                _lead_with_the_common_keys,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _cut_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    event["event"] = _cut(str(event["event"]))
    return event


def _render_exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace ``exc_info`` by type, cut text and places; no source lines, no local variables."""
    del logger, method
    info = event.pop("exc_info", None)
    info = sys.exc_info() if info is True else info
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = type(error).__name__
        event["error"] = _cut(str(error))
        event["stack"] = _places(error.__traceback__)
    return event


def _lead_with_the_common_keys(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    return {key: event[key] for key in _COMMON_KEYS if key in event} | dict(event)


def _cut(text: str) -> str:
    return text if len(text) <= FOREIGN_TEXT_CHARS else text[: FOREIGN_TEXT_CHARS - 3] + "..."


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
