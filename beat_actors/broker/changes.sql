-- name: lock
-- Serializes with every other turn of the platform, cluster-wide, until the transaction ends. A statement of its own: what is read in the
-- same statement would be as old as the wait for the lock.
-- Parameters: platform (text).
-- Locks: the platform's advisory lock, first of all.
SELECT pg_advisory_xact_lock(hashtext('beat.broker'), hashtext(%(platform)s))::text AS locked

-- name: look_again
-- Lets the next turn look again at lanes that wait: something was changed by which they may have room.
-- Parameters: platform (text).
-- Locks: the platform's lanes that wait, in no order, after the platform's lock.
-- No row: never; the statement gives none.
UPDATE lane SET blocked_until = clock_timestamp() WHERE platform = %(platform)s AND reasons IS NOT NULL
