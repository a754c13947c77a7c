"""The example consumers of docs/examples, as processes."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path


class Consumer:
    """The example as a process. It may be started again over the same file."""

    def __init__(self, example: Path, url: str, path: Path, *more: str) -> None:
        self.argv = (sys.executable, str(example), url, str(path), *more)
        self.path = path
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.argv, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def rows(self, statement: str) -> list[tuple[str, ...]]:
        """Nothing while the process has not made its tables."""
        store = sqlite3.connect(self.path, timeout=30)
        try:
            return store.execute(statement).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            store.close()

    def applied(self) -> set[str]:
        return {event for (event,) in self.rows("SELECT event FROM effect")}
