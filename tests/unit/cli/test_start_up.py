"""A command loads what it needs: the drivers take most of its time. What is counted are modules, since times depend on the machine."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
from beat_actors.cli.app import invoke
invoke(sys.argv[1:])
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""
DRIVERS = frozenset({
    "aiohttp", "alembic", "apscheduler", "boto3", "botocore", "cryptography", "dramatiq", "falcon", "granian", "psycopg", "redis", "sqlalchemy",
    "uvloop", "zstandard",
})  # fmt: skip
DATABASE = frozenset({"psycopg", "sqlalchemy"})
MOST_FOR_HELP, MOST_FOR_A_COMMAND = 450, 1000


def loaded(*line: str) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", PROGRAM, *line], capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(ran.stderr)
    return modules


def test_the_list_of_commands_loads_no_driver() -> None:
    modules = loaded("--help")
    assert DRIVERS & set(modules) == set()
    assert len(modules) < MOST_FOR_HELP


OFTEN, OTHERS = ("alerts", "requests"), ("why", "watch", "audit", "stuck", "db", "settings")


@pytest.mark.parametrize("command", [*OFTEN, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS)])
def test_a_command_of_the_database_loads_no_other_driver(command: str) -> None:
    modules = loaded(command, "--help")
    assert DRIVERS & set(modules) <= DATABASE
    assert len(modules) < MOST_FOR_A_COMMAND
