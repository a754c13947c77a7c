-- name: builds
-- Parsers of versions of Beat, by their numbers.
-- Parameters: ids (integer[]).
-- Rows: one for each that is known.
-- Locks: none.
-- No row: none is known.
SELECT id, operation, software FROM parser_build WHERE id = ANY(%(ids)s)
