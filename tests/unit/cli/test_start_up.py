"""A command loads what it needs: the drivers take most of its time. What is counted are modules, since times depend on the machine."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
from beat_actors.cli.app import invoke
invoke(sys.argv[1:])
sys.stderr.write("\\n" + json.dumps(sorted(sys.modules)))
"""
DRIVERS = frozenset({
    "aiohttp", "alembic", "apscheduler", "boto3", "botocore", "cryptography", "dramatiq", "falcon", "granian", "psycopg", "pydantic", "redis",
    "sqlalchemy", "structlog", "uvloop",
})  # fmt: skip
"""What takes long to load: drivers, frameworks, the library that reads the settings and that of the logs."""
OF_A_TURN = frozenset({
    "beat_actors.broker.decision", "beat_actors.broker.lanes", "beat_actors.broker.loading", "beat_actors.broker.store", "beat_actors.broker.turn",
    "beat_actors.pipeline.deciding", "beat_actors.requests.sweeps",
})  # fmt: skip
"""What a dispatch cycle, a stage and the sweeps consist of. To list and to steer needs none of them."""
NOBODY = "127.0.0.1:9"
"""Where nobody listens, so that a command fails once it has loaded all that it asks with."""
OVER_THE_API = {"BEAT_API_URL": f"http://{NOBODY}", "BEAT_API_KEY": "beat_none"}
OF_THE_DATABASE = {
    "BEAT_DATABASE_URL": f"postgresql://beat@{NOBODY}/none", "BEAT_REDIS_URL": f"redis://{NOBODY}/0", "BEAT_MESSAGE_KEYS": "k:" + "A" * 43 + "=",
}  # fmt: skip
MOST_FOR_HELP, MOST_FOR_A_COMMAND = 300, 680


def loaded(*line: str, **variables: str) -> list[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *line], capture_output=True, text=True, check=True, env=known | variables
    )
    modules: list[str] = json.loads(ran.stderr.rpartition("\n")[2])
    return modules


def test_the_list_of_commands_loads_no_driver() -> None:
    modules = loaded("--help")
    assert DRIVERS & set(modules) == set()
    assert {"markdown_it", "rich._emoji_codes", "importlib.metadata"} & set(modules) == set()
    assert len(modules) < MOST_FOR_HELP


def test_a_mistyped_command_loads_no_other() -> None:
    assert len(loaded("alertz")) < MOST_FOR_HELP


HELPED = (
    "alerts",
    "requests",
    "sources",
    "scrape",
    "why",
    "watch",
    "audit",
    "stuck",
    "db",
    "keys",
    "webhooks",
    "limits",
    "credentials",
    "doctor",
    "events",
)
OFTEN = ("alerts", "requests", "sources", "why 1", "scrape instagram someone")
OTHERS = (
    "requests 1", "flows", "limits", "keys list", "webhooks list", "credentials list", "quarantine", "audit", "stuck", "db", "accounts grants", "events status",
    "retry 1", "cancel 1 --reason why", "doctor", "watch 1", "brief", "top --once",
)  # fmt: skip


def each(often: tuple[str, ...], others: tuple[str, ...]) -> list[object]:
    return [*often, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in others)]


@pytest.mark.parametrize("command", each(HELPED[:4], HELPED[4:]))
def test_the_help_of_a_command_loads_no_driver(command: str) -> None:
    assert DRIVERS & set(loaded(command, "--help")) == set()


@pytest.mark.slow
@pytest.mark.parametrize("line", each(OFTEN, OTHERS))
def test_a_command_over_the_api_loads_the_client_alone(line: str) -> None:
    modules = loaded(*line.split(), **OVER_THE_API)
    assert DRIVERS & set(modules) == {"aiohttp"}
    assert not {"beat_actors.settings", "beat_actors.database.connections", "beat_actors.cli.operators.here"} & set(
        modules
    )
    assert len(modules) < MOST_FOR_A_COMMAND


@pytest.mark.parametrize(
    "line", each(("alerts", "sources", "why 1", "scrape instagram someone"), ("requests", "requests 1", "flows", "held", "quarantine", "brief", "stuck", "audit", "db"))
)  # fmt: skip
def test_a_command_of_the_database_loads_one_driver_and_the_settings(line: str) -> None:
    modules = loaded(*line.split(), **OF_THE_DATABASE)
    assert DRIVERS & set(modules) == {"psycopg", "pydantic"}
    assert OF_A_TURN & set(modules) == set()
    assert len(modules) < MOST_FOR_A_COMMAND


@pytest.mark.parametrize("line", each(("limits",), ("forecast",)))
def test_a_command_about_limits_loads_the_driver_of_redis_too(line: str) -> None:
    modules = loaded(*line.split(), **OF_THE_DATABASE)
    assert DRIVERS & set(modules) == {"cryptography", "psycopg", "pydantic", "redis"}  # redis loads cryptography
    assert OF_A_TURN & set(modules) == set()


def test_the_doctor_loads_neither_the_migrations_nor_a_turn() -> None:
    assert not ({"alembic", "sqlalchemy"} | OF_A_TURN) & set(loaded("doctor", **OF_THE_DATABASE))


def test_a_command_for_one_platform_loads_no_other() -> None:
    modules = loaded("scrape", "youtube", "someone", **OF_THE_DATABASE)
    platforms = {name.split(".")[2] for name in modules if name.startswith("beat_actors.platforms.")}
    assert "youtube" in platforms
    assert not {"instagram", "shopify", "tiktok"} & platforms


COLLECTED = """
import gc, sys
from beat_actors.cli import main
sys.argv = ["beat", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
sys.stderr.write("\\n" + str(sum(generation["collections"] for generation in gc.get_stats())))
"""
MOST_COLLECTIONS = 20
"""Python's own threshold makes some hundreds while a command's modules load."""


@pytest.mark.parametrize("line", ["--help", "sources"])
def test_a_command_does_not_look_for_garbage_while_it_loads(line: str) -> None:
    known = {name: value for name, value in os.environ.items() if not name.startswith("BEAT_")}
    ran = subprocess.run(
        [sys.executable, "-c", COLLECTED, *line.split()],
        capture_output=True,
        text=True,
        check=True,
        env=known | OF_THE_DATABASE,
    )
    assert int(ran.stderr.rpartition("\n")[2]) < MOST_COLLECTIONS


AT_THE_END = """
import atexit, gc, sys
from beat_actors.cli import main
atexit.register(lambda: sys.stderr.write("\\n" + str(gc.get_freeze_count())))
sys.argv = ["beat", "--help"]
main()
"""


def test_a_command_does_not_look_for_garbage_when_it_ends() -> None:
    ran = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, check=True)
    assert int(ran.stderr.rpartition("\n")[2]) > 0
