"""What `beat brief` reads: which code ran when, and indexes by which it finds what happened in a span of time.

Only added. Older processes write no `code_start`. The indexes are built concurrently and hold up no writer. That of `event` is partial: it
holds the few events about breakers and alerts. A partition that is made later gets it from its parent.

Revision ID: 0077
"""

from alembic import op

revision = "0077"
down_revision = "0076"
branch_labels = None
depends_on = None

INDEXES = {
    "audit_log_at": "audit_log (at)",
    "alert_opened": "alert (opened_at)",
    "alert_resolved": "alert (resolved_at) WHERE resolved_at IS NOT NULL",
}
OF_OPERATIONS = "(at) WHERE type IN ('beat.breaker.opened', 'beat.breaker.closed', 'beat.alert.escalated')"


def upgrade() -> None:
    op.execute(
        """
    -- The first start of a kind of process with other code or other settings than the start before it (`after`, 0: none is known). `settings`:
    -- the numbers and switches that differ from their defaults, and no text.
    CREATE TABLE IF NOT EXISTS code_start (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        name text NOT NULL,
        host text NOT NULL,
        version text NOT NULL,
        revision text NOT NULL,
        platforms text[],
        settings jsonb NOT NULL DEFAULT '{}',
        after bigint NOT NULL
    );
    -- Of many processes that start at the same time with the same code, one writes the row.
    CREATE UNIQUE INDEX IF NOT EXISTS code_start_once ON code_start (name, after, version, revision, (md5(settings::text)));
    CREATE INDEX IF NOT EXISTS code_start_of ON code_start (name, id);
    CREATE INDEX IF NOT EXISTS code_start_at ON code_start (at);
    -- It reads no partition: each gets its own index below.
    -- squawk-ignore require-concurrent-index-creation
    CREATE INDEX IF NOT EXISTS event_operations ON ONLY event """
        + OF_OPERATIONS
    )
    context = op.get_context()
    partitions = [] if context.as_sql else _partitions()
    with context.autocommit_block():
        op.execute("SET lock_timeout = 0")
        for name, of in INDEXES.items():
            # What a build that was interrupted left behind is not valid.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {of}")
        for partition in partitions:
            index = f"{partition}_operations"
            op.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{index}"')
            op.execute(f'CREATE INDEX CONCURRENTLY "{index}" ON "{partition}" {OF_OPERATIONS}')
        op.execute("SET lock_timeout = '2s'")
        # It waits for the writers of the moment. If it gets no lock, the migration is run again and goes on here.
        for partition in partitions:
            op.execute(f'ALTER INDEX event_operations ATTACH PARTITION "{partition}_operations"')


def _partitions() -> list[str]:
    """The partitions of `event` that have no index of this kind yet."""
    rows = op.get_bind().exec_driver_sql("""
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'event'::regclass AND NOT EXISTS (
        SELECT FROM pg_inherits a JOIN pg_index x ON x.indexrelid = a.inhrelid
        WHERE a.inhparent = 'event_operations'::regclass AND x.indrelid = c.oid) ORDER BY 1
    """)
    return [row[0] for row in rows]


def downgrade() -> None:
    op.execute(f"DROP INDEX IF EXISTS event_operations, {', '.join(INDEXES)}")
    op.execute("DROP TABLE code_start")
