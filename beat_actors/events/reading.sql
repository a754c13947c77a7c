-- name: following
-- The next places of the log, each with its event where the filter leaves it. A page is bounded by places, whatever the filter leaves of them.
-- Parameters: after (bigint): a place, limit (bigint): places, types (text or null): a regular expression of the types, subject (text or null),
-- since (timestamptz or null): events that happened earlier are left out.
-- Rows: `Found`, in order.
-- Locks: none.
-- No row: the log has no more.
SELECT l.seq, e.event_id::text AS id, e.type, e.subject, e.version, nullif(e.account_id, '') AS account_id, e.at AS time, e.data
FROM (SELECT seq, id, at FROM event_log WHERE seq > %(after)s ORDER BY seq LIMIT %(limit)s) l
LEFT JOIN event e ON e.id = l.id AND e.at = l.at AND (%(types)s::text IS NULL OR e.type ~ %(types)s)
    AND (%(subject)s::text IS NULL OR e.subject = %(subject)s) AND (%(since)s::timestamptz IS NULL OR e.at >= %(since)s)
ORDER BY l.seq
