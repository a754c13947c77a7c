"""Triggers that refuse a move which the tables of stages and states do not have: for tests that play everything that happens."""

from collections.abc import Mapping
from typing import Any

import psycopg

from beat_actors.fetches import states as stages
from beat_actors.requests import states as statuses

REFUSE = """
CREATE OR REPLACE FUNCTION refuse_move() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    RAISE EXCEPTION '% does not go from % to %', TG_TABLE_NAME, to_jsonb(old)->>TG_ARGV[0], to_jsonb(new)->>TG_ARGV[0];
END $$
"""


def hold_moves(connection: psycopg.Connection[Any]) -> None:
    """From now on a row that moves otherwise raises in whatever statement moves it."""
    connection.execute(REFUSE)
    for table, column, moves in (
        ("scrape_fetch", "stage", stages.MOVES),
        ("scrape_request_log", "status", statuses.MOVES),
    ):
        connection.execute(
            f"CREATE TRIGGER refuse_move BEFORE UPDATE OF {column} ON {table} FOR EACH ROW "
            f"WHEN (old.{column} <> new.{column} AND old.{column} || '>' || new.{column} <> ALL ('{{{arrows(moves)}}}')) "
            f"EXECUTE FUNCTION refuse_move('{column}')"
        )


def arrows(moves: Mapping[Any, frozenset[Any]]) -> str:
    return ",".join(sorted(f"{before}>{after}" for before, those in moves.items() for after in those))
