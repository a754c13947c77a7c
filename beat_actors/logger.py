"""Loggers of modules. structlog is loaded with the first line that is logged, so a module that only has a logger costs nothing to import.

`logs` configures the lines of processes, and the command line those of commands (`configure_at_first_line`).
"""

import logging
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_lock = threading.Lock()
_configure: Callable[[], None] | None = None
_level = logging.NOTSET


class Logger:
    """Logs an event with fields, through the logger that structlog makes for this name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._made: FilteringBoundLogger | None = None

    def debug(self, event: str, **fields: object) -> None:
        if _is_logged(logging.DEBUG):
            self._bound().debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        if _is_logged(logging.INFO):
            self._bound().info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        if _is_logged(logging.WARNING):
            self._bound().warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        self._bound().error(event, **fields)

    def exception(self, event: str, **fields: object) -> None:
        """As `error`, with the exception that is being handled."""
        self._bound().exception(event, **fields)

    def critical(self, event: str, **fields: object) -> None:
        self._bound().critical(event, **fields)

    def _bound(self) -> "FilteringBoundLogger":
        if _configure is not None:
            _configure_once()
        if self._made is None:
            import structlog

            self._made = structlog.get_logger(self._name)
        return self._made


def get_logger(name: str) -> Logger:
    """The logger of a module: `log = get_logger(__name__)`."""
    return Logger(name)


def configure_at_first_line(configure: Callable[[], None], *, level: int) -> None:
    """Let `configure` configure structlog before the first line of `level` or above; until then, lines below `level` are dropped.

    If structlog is loaded already, `configure` runs now. `level`: at most `logging.ERROR`.
    """
    global _configure, _level
    if "structlog" in sys.modules:
        _configure = None
        configure()
    else:
        _configure, _level = configure, level


def _is_logged(level: int) -> bool:
    return _configure is None or level >= _level


def _configure_once() -> None:
    global _configure
    with _lock:
        if _configure is not None:
            _configure()
            _configure = None
