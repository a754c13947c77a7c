-- name: find
-- The numbers of builds.
-- Parameters: the arrays software, platforms, sources, operations, versions, one entry a build.
-- Rows: one for each build that is known.
-- Locks: none.
-- No row: none is known.
SELECT n.nth::integer AS nth, b.id FROM unnest(%(software)s::text[], %(platforms)s::text[], %(sources)s::text[], %(operations)s::text[], %(versions)s::integer[])
    WITH ORDINALITY AS n (software, platform, source, operation, parser_version, nth)
JOIN parser_build b USING (software, platform, source, operation, parser_version)

-- name: add
-- Number builds that have no number yet.
-- Parameters: as of find; in the order of their values, so that two transactions cannot deadlock.
-- Locks: waits for another transaction that numbers the same builds.
-- 0 rows: another transaction has numbered them.
INSERT INTO parser_build (software, platform, source, operation, parser_version)
SELECT software, platform, source, operation, parser_version
FROM unnest(%(software)s::text[], %(platforms)s::text[], %(sources)s::text[], %(operations)s::text[], %(versions)s::integer[])
    AS n (software, platform, source, operation, parser_version)
ON CONFLICT DO NOTHING
