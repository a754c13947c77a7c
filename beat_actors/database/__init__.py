"""PostgreSQL: the pool, the transaction, the schema."""

from beat_actors.database.engine import Database, Transaction, columns, jsonb

__all__ = ["Database", "Transaction", "columns", "jsonb"]
