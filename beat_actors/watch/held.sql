-- name: distrusted
-- Sources whose data breaker is open and was not opened by a person, and those of which a sample did not tell whether the world moved or the source
-- broke.
-- Rows: `Distrusted`; `since` is null where the breaker is not open.
-- Locks: none.
-- No row: all sources are trusted.
SELECT t.platform, t.source, t.operation, t.parser_version, t.open_since AS since, t.why, (SELECT count(*) FROM (SELECT FROM held_record h
    WHERE (h.platform, h.source, h.operation, h.parser_version) = (t.platform, t.source, t.operation, t.parser_version) AND h.decided_at IS NULL LIMIT 10000) n) AS held
FROM trust_cohort t WHERE NOT t.by_hand AND (t.open_since IS NOT NULL OR t.cause = 'unclear') ORDER BY 1, 2, 3, 4 LIMIT 200

-- name: waiting
-- Held records that wait for a person, by platform, source and operation; at most 1,000 are counted.
-- Rows: `Waiting`; `first`: the one that waits longest.
-- Locks: none.
-- No row: none waits for a person.
SELECT platform, source, operation, count(*) AS of, min(held_at) AS since, min(id) AS first
FROM (SELECT * FROM held_record WHERE decided_at IS NULL AND state = 'person' ORDER BY id LIMIT 1000) h GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
