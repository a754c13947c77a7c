-- name: stage
-- The stage in which a fetch is.
-- Parameters: id (bigint).
-- No row: it is gone.
SELECT stage FROM scrape_fetch WHERE id = %(id)s
