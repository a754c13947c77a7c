-- name: durable
-- Makes the session's commits wait for the disk, where a default of the role or database says otherwise. A commit that Beat has answered for
-- has to be on disk, and on that of a synchronous standby where there is one, or a fail-over loses it. Settings that wait for more than
-- that (`remote_apply`) stay. Behind a pooler in transaction mode this is not certain; see `durability`.
-- No row: the session's commits wait already.
SELECT set_config('synchronous_commit', 'on', false) AS set_to WHERE current_setting('synchronous_commit') IN ('off', 'local')

-- name: pin
-- Sets a setting of the session, so that values are read as they are written.
-- Parameters: name, value (text).
-- Rows: the value.
-- Locks: none.
SELECT set_config(%(name)s, %(value)s, false) AS set_to
