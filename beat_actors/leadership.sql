-- name: elect
-- Begins a term, if no other session has the lock of the leader.
-- Parameters: name (text) of the office, holder (text).
-- Rows: the term's epoch.
-- Locks: an advisory lock until the session ends, for which it does not wait; the leader's row.
-- No row: another session has the lock.
INSERT INTO leader (name, epoch, holder, seen_at, elected_at)
SELECT %(name)s, 1, %(holder)s, clock_timestamp(), clock_timestamp() WHERE pg_try_advisory_lock(hashtext('beat.leader'), hashtext(%(name)s))
ON CONFLICT (name) DO UPDATE SET epoch = leader.epoch + 1, holder = excluded.holder, seen_at = excluded.seen_at,
    elected_at = excluded.elected_at
RETURNING epoch

-- name: seen
-- Notes that the leader lives.
-- Parameters: name (text) of the office, epoch (bigint) of its term.
-- Locks: the leader's row.
-- No row: another one was elected meanwhile.
UPDATE leader SET seen_at = clock_timestamp() WHERE name = %(name)s AND epoch = %(epoch)s

-- name: depose
-- Ends the session that has the lock of the leader and is not seen, and with it the lock. A session that was seen in the future counts as not
-- seen: the clock stepped back since.
-- Parameters: name (text) of the office, silent_for (double precision): seconds.
-- Rows: whether a session was told to end.
-- Locks: none.
-- No row: the leader is seen, or there is none.
SELECT pg_terminate_backend(l.pid) AS ended FROM pg_locks l
WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::bigint = hashtext('beat.leader')::bigint & 4294967295 AND l.objid::bigint = hashtext(%(name)s)::bigint & 4294967295
  AND NOT EXISTS (SELECT FROM leader WHERE name = %(name)s AND abs(extract(epoch FROM clock_timestamp() - seen_at)) < %(silent_for)s)
