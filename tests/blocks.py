"""The fenced blocks of the documentation, the commands in them, and what checks each.

`tests/commands.py` reads the commands of Beat and the calls of the API in the same blocks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)

NOT_RUN = {
    "up": "starts another stack: tests/integration/local/test_stack.py",
    "assets check": "needs a bucket of assets: tests/integration/cli/test_assets.py",
    "chaos": "starts other stacks, and CI runs it as `make chaos-ci`: tests/integration/chaos/test_chaos.py",
    "new-platform": "writes into a checkout: tests/integration/cli/test_new_platform.py",
    "events tail --follow": "runs until it is stopped; what it prints: tests/integration/cli/test_events.py",
    "simulator run": "runs until it is stopped: tests/integration/simulator/test_process.py",
    "db roles": "needs a server without roles: tests/integration/database/test_roles.py",
    "migrate": "needs an empty database: tests/integration/database/test_migrations.py",
    "connect": "asks questions, and may open a browser: tests/integration/cli/test_connect.py",
    "notify add": "its sinks would be told of the test's alerts, PagerDuty too: tests/integration/cli/test_notify.py",
    "notify test": "sends to sinks that are elsewhere: tests/integration/cli/test_notify.py",
    "snapshot import": "needs an installation without fetches: tests/integration/snapshots/test_snapshot.py",
    "parsers shadow": "runs for an hour; what it prints: tests/integration/cli/test_parsers.py",
    "webhooks add http://127.0.0.1": "needs a stack that allows private addresses: tests/integration/webhooks/test_webhooks.py",
    "try": "needs a credential of the source: `test_every_documented_try_makes_its_call` of the same module",
}
"""Commands of Beat that `test_commands_run` does not run, with the reason and the test that runs them otherwise."""

SHELL = {
    "docker compose": "needs Docker: tests/unit/repository/test_compose.py",
    "pip install": "installs into the reader's environment: tests/unit/repository/test_wheels.py",
    "openapi-python-client": "needs the generator: tests/integration/api/test_generated_clients.py",
    "BEAT_WEBHOOK_ALLOW_PRIVATE=true beat up": "starts another stack: tests/integration/local/test_stack.py",
    "uvx": "installs into the reader's environment: tests/unit/repository/test_wheels.py",
    "python -m pytest beat-pinterest": "runs the tests of a new distribution: tests/integration/cli/test_new_platform.py",
    "export BEAT_ROOT=": "sets a variable of the reader's shell: tests/integration/local/test_stack.py",
    "export BEAT_SOURCES=": "sets a variable: tests/unit/repository/test_documented_blocks.py",
    "pg_dump": "needs PostgreSQL's client programs: tests/worlds.py restores without them",
    "pg_restore": "needs PostgreSQL's client programs and a second server: tests/worlds.py restores without them",
    "umask": "is part of the block that writes .env: tests/unit/repository/test_documented_blocks.py",
    "for name in": "writes .env: tests/unit/repository/test_documented_blocks.py",
    'echo "BEAT_': "writes .env: tests/unit/repository/test_documented_blocks.py",
    "api=": "is part of the first ten minutes: tests/integration/engine/test_first_minutes.py",
    "key=": "is part of the first ten minutes: tests/integration/engine/test_first_minutes.py",
    "call() {": "is part of the first ten minutes: tests/integration/engine/test_first_minutes.py",
}
"""Other commands of the blocks, by how they begin, with the reason why no test runs them as they stand, or with the test that does."""

MAKE = {
    "run": "runs until it is stopped: tests/integration/local/test_stack.py",
    "test": ".ci/run",
    "chaos-ci": ".ci/run",
    "chaos": "takes hours; `make chaos-ci` runs a selection: .ci/run",
}
"""Targets of make in the blocks, with what runs them."""

LANGUAGES = {
    "sh": "tests/unit/repository/test_documented_blocks.py",
    "json": "tests/unit/repository/test_documented_blocks.py",
    "python": "tests/integration/engine/test_first_minutes.py, tests/integration/webhooks/test_webhooks.py, tests/integration/api/test_generated_clients.py",
    "sql": "tests/integration/database/test_documented_sql.py",
    "nginx": "tests/integration/api/test_behind_nginx.py",
    "mermaid": "tests/unit/repository/test_states.py",
    "text": "output, which differs with each run; the users of Redis: tests/integration/actors/test_redis_users.py",
}
"""The languages of blocks, with what checks them."""


@dataclass(frozen=True)
class Block:
    """`line`: of the page, from 1 on, on which the block begins."""

    where: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, each with its continuation lines; a loop is one command. Comments are left out."""
        found, open_lines = list[str](), list[str]()
        for line in self.text.splitlines():
            open_lines.append(line)
            whole = "\n".join(open_lines)
            if (
                not line.endswith("\\")
                and not _open_quote(whole)
                and not (whole.startswith("for ") and "\ndone" not in whole)
            ):
                command = re.sub(r"\s+#\s.*$", "", whole)
                found += [command] if command.strip() else []
                open_lines = []
        return found + (["\n".join(open_lines)] if open_lines else [])


def _open_quote(text: str) -> bool:
    """Whether the text ends inside quotes, so that the command continues on the next line."""
    quote = ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#":
            return False
    return bool(quote)


def blocks(*languages: str) -> Iterator[Block]:
    """All blocks, or those of these languages. An indented block, of a list, is without its indentation."""
    for path in PAGES:
        page = path.read_text()
        for found in FENCE.finditer(page):
            if not languages or found["language"] in languages:
                text = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
                line = page[: found.start()].count("\n") + 1
                yield Block(str(path.relative_to(ROOT)), line, found["language"], text)
