-- name: remember
-- Notes that sources asked for smaller pages. Within the time for which that is kept, a page only gets smaller.
-- Parameters: seconds (for which it is kept), sources, operations, subjects (text[]), halvings (smallint[]), pairwise, without duplicates and in
-- their order.
-- Locks: the rows, in that order.
INSERT INTO smaller_page AS s (source, operation, subject, halvings, until)
SELECT n.source, n.operation, n.subject, n.halvings, now() + make_interval(secs => %(seconds)s)
FROM unnest(%(sources)s::text[], %(operations)s::text[], %(subjects)s::text[], %(halvings)s::smallint[]) AS n(source, operation, subject, halvings)
ON CONFLICT (source, operation, subject) DO UPDATE SET until = excluded.until,
    halvings = CASE WHEN s.until > now() THEN greatest(s.halvings, excluded.halvings) ELSE excluded.halvings END

-- name: forget
-- Forgets rows whose time has passed, 1,000 at most.
-- Locks: the rows; those that another transaction holds are left to it.
-- No row: there is none.
DELETE FROM smaller_page WHERE ctid = ANY(ARRAY(SELECT ctid FROM smaller_page WHERE until < now() LIMIT 1000 FOR UPDATE SKIP LOCKED))
