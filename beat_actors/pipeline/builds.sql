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
-- Parameters: software, platforms, sources, operations (text[]), versions (integer[]): one entry a build, in the order of their values, so that two
-- transactions cannot deadlock.
-- Locks: the new rows; it waits for another transaction that numbers the same builds.
-- No row: never; the statement gives none, and adds none that another transaction has numbered.
INSERT INTO parser_build (software, platform, source, operation, parser_version)
SELECT software, platform, source, operation, parser_version
FROM unnest(%(software)s::text[], %(platforms)s::text[], %(sources)s::text[], %(operations)s::text[], %(versions)s::integer[])
    AS n (software, platform, source, operation, parser_version)
ON CONFLICT DO NOTHING
