"""PostgreSQL: the pool, the transaction, the schema."""

from beat_actors.database.engine import Answer, Database, Pipeline, Transaction, arrays, columns, jsonb
from beat_actors.database.sql import Composed, Statement, Statements

__all__ = [
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
