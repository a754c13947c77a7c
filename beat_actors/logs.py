"""Structured logs: JSON lines for machines, coloured lines on a terminal. `log_events` lists the events; `masking` keeps secrets out of every line."""

import atexit
import functools
import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO, cast

import structlog
from structlog.typing import Processor

from beat_actors.errors import BeatError
from beat_actors.log_buffer import LogBuffer
from beat_actors.masking import hide, mask, secrets_of
from beat_actors.settings import Settings

log = structlog.get_logger(__name__)

AT_EXIT = 2.0
"""Seconds that a process that ends waits at most for its last lines to be written."""
LIBRARY = "library"
"""The event of a line that a library logs."""
AWAY = frozenset({"psycopg.OperationalError", "redis.exceptions.ConnectionError", "redis.exceptions.TimeoutError"})
"""Drivers' errors of a server that is away, whose text says all. Most processes load one of the drivers."""

_service = ""


@functools.cache
def buffer() -> LogBuffer:
    """That of this process."""
    assert sys.__stderr__ is not None
    made = LogBuffer(sys.__stderr__.fileno())
    atexit.register(made.drain, AT_EXIT)
    return made


def handler() -> logging.Handler:
    """What writes records of standard-library loggers to the process's log, as lines of the event `library`."""
    made = logging.StreamHandler(cast("TextIO", buffer()))
    made.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_of_library, *_processors()]))
    return made


def say(text: str) -> None:
    """Write a line for the person who starts the process, as a `print` that does not wait for a stream that nobody reads."""
    buffer().write(f"{text}\n")
    buffer().drain(AT_EXIT)


def configure(settings: Settings, *, service: str) -> None:
    """Once, at the start of a process. Standard-library loggers go to the same stream, at WARNING and above, and so do warnings and errors
    that nobody catches.

    The stream is the process's own: what stands in for `sys.stderr` for a while may be closed before the logger is done with.
    Lines go through a bounded buffer; those that cannot be written are lost, and the process reports them.
    """
    global _service
    _service = service
    hide(secrets_of(getattr(settings, name) for name in type(settings).model_fields))
    structlog.configure(
        processors=[structlog.processors.add_log_level, *_processors()],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level)),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", buffer())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler()])
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _processors() -> list[Processor]:
    """What makes a line of an event that has its level: JSON, or coloured text where a person reads it."""
    assert sys.__stderr__ is not None
    terminal = sys.__stderr__.isatty()
    return [
        _named,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask,
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
    ]


def _named(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """With the service, in whichever thread."""
    event["service"] = _service
    return event


def _of_library(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A record of a library's logger as an event. An error that has a name of Beat's, or of a server that is away, needs no traceback."""
    record: logging.LogRecord = event["_record"]
    found = {"event": LIBRARY, "level": record.levelname.lower(), "logger": record.name, "message": event["event"]}
    _, error, _ = event.get("exc_info") or (None, None, None)
    if error is not None and _says_all(error):
        found["error"] = f"{type(error).__name__}: {error}"
    elif error is not None:
        found["exc_info"] = error
    return found


def _says_all(error: BaseException) -> bool:
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    return isinstance(error, BeatError | ConnectionError | TimeoutError) or not names.isdisjoint(AWAY)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Python prints it straight to the stream, where a process that is about to end would wait for a reader for ever."""
    if not issubclass(kind, SystemExit | KeyboardInterrupt):
        log.critical("uncaught", error=kind.__name__, exc_info=(kind, error or kind(), trace))
