"""Structured logs: JSON lines for machines, coloured lines on a terminal. Fields are chosen where they are logged; secrets never are."""

import logging
import sys

import structlog

from beat_actors.settings import Settings


def configure(settings: Settings, *, service: str) -> None:
    """Once, at the start of a process. Standard-library loggers go to the same stream, at WARNING and above.

    The stream is the process's own: what stands in for `sys.stderr` for a while may be closed before the logger is done with.
    """
    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level)),
        logger_factory=structlog.WriteLoggerFactory(sys.__stderr__),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.__stderr__, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
