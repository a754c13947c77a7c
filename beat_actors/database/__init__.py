"""PostgreSQL: the pool, the transaction, the schema."""

from beat_actors.database.engine import Answer, Database, Pipeline, Transaction, arrays, columns, jsonb
from beat_actors.database.sql import Statement, Statements

__all__ = ["Answer", "Database", "Pipeline", "Statement", "Statements", "Transaction", "arrays", "columns", "jsonb"]
