"""Every line of a process as one JSON object, whoever wrote it: the gateway's and the operator's.

structlog is routed through the standard library's root logger, and so are uvicorn, httpx and all
others, so that one formatter writes them all. Foreign text (other libraries' messages, exception
texts) is cut, because it may quote what a client or a backend sent. Needs structlog, which the
engine plugin does without: it does not import this.
"""

import logging
import sys
import traceback
from types import TracebackType
from typing import Final, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

FOREIGN_TEXT_CHARS: Final = 256
_FRAMES: Final = 20
_COMMON_KEYS: Final = ("timestamp", "level", "event")

_LIBRARY_LEVELS: Final = {
    # One line per request, probe or scrape would bury everything else.
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "aiohttp.access": logging.WARNING,
}


def configure_logging(level: str, stream: TextIO) -> None:
    """Send all logging of the process to ``stream``; the last call wins.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        stream: Text stream, usually ``sys.stdout``.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
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
            foreign_pre_chain=[*shared, _cut_message],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _render_exception,
                _lead_with_the_common_keys,
                structlog.processors.JSONRenderer(serializer=_to_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _tame_libraries()


def _tame_libraries() -> None:
    # uvicorn installs its own handlers unless told not to; whatever it left is removed.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name, level in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(level)


def _cut_message(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    event["event"] = _cut(str(event["event"]))
    return event


def _cut(text: str) -> str:
    """Foreign text, at most ``FOREIGN_TEXT_CHARS`` long."""
    return text if len(text) <= FOREIGN_TEXT_CHARS else text[: FOREIGN_TEXT_CHARS - 3] + "..."


def _render_exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace ``exc_info`` by type, cut text and places; no source lines, no local variables."""
    del logger, method
    error = _exception_of(event.pop("exc_info", None))
    if error is not None:
        event["exception"] = type(error).__name__
        event["error"] = _cut(str(error))
        event["stack"] = _places(error.__traceback__)
    return event


def _lead_with_the_common_keys(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    return {key: event[key] for key in _COMMON_KEYS if key in event} | dict(event)


def _exception_of(info: object) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return info[1] if isinstance(info[1], BaseException) else None
    return sys.exc_info()[1] if info else None


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _to_json(value: EventDict, default: object = None, **_: object) -> str:
    # structlog offers a fallback of its own; what JSON does not know is written as text instead.
    del default
    try:
        return _ENCODE(value).decode()
    except UnicodeEncodeError:  # a lone surrogate somewhere in foreign text
        return _ENCODE({key: _printable(item) for key, item in value.items()}).decode()


def _printable(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


_ENCODE: Final = msgspec.json.Encoder(enc_hook=str).encode
