"""Which cluster a database lives in. Rows keep transaction numbers, and a dump may be restored into a cluster that counts lower ones.

Each new connection compares the cluster with the one that the database knows. In another one that is behind the rows, a new era begins:
`beat_xid_in_era` adds it to the cluster's numbers, so whatever is written is behind all that was restored. A standby that took over, and a
cluster that was restored as a whole, keep their identifier and their numbers.
"""

from typing import Any

KNOWN = """
SELECT CASE WHEN has_schema_privilege(to_regnamespace('public'), 'USAGE')
       THEN coalesce(has_table_privilege(to_regclass('public.database_cluster'), 'UPDATE'), false) ELSE false END
"""
"""Whether the database is migrated so far, and its schema and tables are granted."""
SAME = "SELECT identifier = (pg_control_system()).system_identifier FROM database_cluster"
ERA = 2**48
"""Numbers of an era; more than a cluster gives out."""

# Waits until transactions that write events or changes have ended. What is written afterwards has numbers of the new era.
LOCK = "LOCK TABLE database_cluster, outbox_event, change_log IN SHARE ROW EXCLUSIVE MODE"
NEWEST = """
SELECT p.xid::text::bigint AS position, p.id AS position_id, o.xid::text::bigint AS event, o.id AS event_id, c.xid::text::bigint AS change, c.id AS change_id,
       beat_xid_in_era(pg_snapshot_xmax(pg_current_snapshot()))::text::bigint AS here
FROM (SELECT) one LEFT JOIN webhook_position p ON true
LEFT JOIN LATERAL (SELECT xid, id FROM outbox_event WHERE xid IS NOT NULL ORDER BY xid DESC, id DESC LIMIT 1) o ON true
LEFT JOIN LATERAL (SELECT xid, id FROM change_log ORDER BY xid DESC, id DESC LIMIT 1) c ON true
"""
JOIN = """
INSERT INTO database_cluster (identifier) VALUES ((SELECT system_identifier FROM pg_control_system()))
ON CONFLICT (only_one) DO UPDATE SET identifier = excluded.identifier
"""
BEGIN_ERA = """
UPDATE database_cluster SET era = %(era)s, last_xid = (%(last)s::bigint)::text::xid8, restored_at = clock_timestamp()
RETURNING %(era)s - (SELECT era FROM database_cluster)
"""
# What was written here before anybody noticed: numbers that this cluster has given, of rows that are newer than the newest restored.
MOVE = """
UPDATE {table} SET xid = (xid::text::bigint + %(by)s)::text::xid8
WHERE xid >= (%(since)s::bigint)::text::xid8 AND xid < (%(here)s::bigint)::text::xid8 AND id > %(id)s
"""


def join(cursor: Any) -> None:
    """Begin a new era where this database was restored into a cluster that counts lower numbers. `cursor`: of a transaction, which the
    caller commits."""
    cursor.execute(KNOWN)
    if cursor.fetchone() != (True,):
        return
    cursor.execute(SAME)
    if cursor.fetchone() == (True,):
        return
    cursor.execute(LOCK)
    cursor.execute(SAME)
    if cursor.fetchone() == (True,):
        return
    cursor.execute(NEWEST)
    position, position_id, event, event_id, change, change_id, here = cursor.fetchone()
    cursor.execute(JOIN)
    newest = max(position or 0, event or 0, change or 0)
    if newest < here:
        return
    era = (newest // ERA + 1) * ERA
    cursor.execute(BEGIN_ERA, {"era": era, "last": newest})
    (by,) = cursor.fetchone()
    values = {"by": by, "since": era - by, "here": here}
    cursor.execute("SET LOCAL statement_timeout = 0")
    if max(position or 0, event or 0) >= here:
        restored = max(position_id or 0, event_id if (event or 0) >= here else 0)
        cursor.execute(MOVE.format(table="outbox_event"), values | {"id": restored})
    if (change or 0) >= here:
        cursor.execute(MOVE.format(table="change_log"), values | {"id": change_id})
