"""PostgreSQL: the pool, the transaction, the schema."""

from beat_actors.database.engine import Answer, Database, Pipeline, Transaction, columns, jsonb

__all__ = ["Answer", "Database", "Pipeline", "Transaction", "columns", "jsonb"]
