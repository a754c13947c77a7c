-- name: earlier
-- Names that a person had in its observations. Bounded by the person's own rows in the log.
-- Parameters: platform, key, field (text), most (integer).
-- Rows: the names.
-- Locks: none.
-- No row: none is logged.
SELECT DISTINCT dimensions->>%(field)s AS name FROM profile_log
WHERE platform = %(platform)s AND profile_id = %(key)s AND dimensions ? %(field)s AND length(dimensions->>%(field)s) > 1 LIMIT %(most)s
