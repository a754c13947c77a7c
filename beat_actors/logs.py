"""Structured logs: JSON lines for machines, coloured lines on a terminal. `log_events` lists the events; `masking` keeps secrets out of every line."""

import atexit
import functools
import logging
import sys
import threading
from types import TracebackType
from typing import TextIO, cast

import structlog

from beat_actors.log_buffer import LogBuffer
from beat_actors.masking import hide, mask, masked, secrets_of
from beat_actors.settings import Settings

log = structlog.get_logger(__name__)

AT_EXIT = 2.0
"""Seconds that a process that ends waits at most for its last lines to be written."""


@functools.cache
def buffer() -> LogBuffer:
    """That of this process."""
    assert sys.__stderr__ is not None
    made = LogBuffer(sys.__stderr__.fileno())
    atexit.register(made.drain, AT_EXIT)
    return made


def handler() -> logging.Handler:
    """What writes records of standard-library loggers to the process's log."""
    made = logging.StreamHandler(cast("TextIO", buffer()))
    made.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
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
    hide(secrets_of(getattr(settings, name) for name in type(settings).model_fields))
    stream = cast("TextIO", buffer())
    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level)),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, handlers=[handler()])
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


class MaskingFormatter(logging.Formatter):
    """For the lines of the standard library's loggers, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Python prints it straight to the stream, where a process that is about to end would wait for a reader for ever."""
    if not issubclass(kind, SystemExit | KeyboardInterrupt):
        log.critical("uncaught", error=kind.__name__, exc_info=(kind, error or kind(), trace))
