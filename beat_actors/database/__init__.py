"""PostgreSQL: the connections, the transaction, the schema. To import this package loads no driver; to make a `Database` does."""

from beat_actors.database.engine import Database
from beat_actors.database.sql import Composed, Statement, Statements
from beat_actors.database.transaction import BY_INDEX, Answer, Pipeline, Transaction, arrays, columns, jsonb

__all__ = [
    "BY_INDEX",
    "Answer",
    "Composed",
    "Database",
    "Pipeline",
    "Statement",
    "Statements",
    "Transaction",
    "arrays",
    "columns",
    "jsonb",
]
