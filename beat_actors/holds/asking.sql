-- name: usable
-- Which of these sources can be asked now: they have a credential that may make the call, and no breaker keeps them from it.
-- Parameters: calls (jsonb: a list of objects with the columns of `n`), soon (double precision: seconds for which a cooldown may last).
-- Rows: the place in the list of each that can be asked.
-- Locks: none.
-- No row: none of them can.
SELECT n.place FROM jsonb_to_recordset(%(calls)s::jsonb) AS n(place integer, platform text, source text, operation text, version integer, owner text)
WHERE EXISTS (
    SELECT FROM credential c WHERE c.platform = n.platform AND c.source = n.source AND CASE WHEN n.owner = '' THEN c.shared ELSE c.owner = n.owner END
      AND c.enabled AND c.dead_at IS NULL AND NOT (n.operation = ANY(c.denied))
      AND coalesce(c.disabled_till <= clock_timestamp() + make_interval(secs => %(soon)s), true))
  AND NOT EXISTS (
    SELECT FROM breaker b WHERE b.platform = n.platform AND b.source = n.source AND b.operation = n.operation AND b.open_until > clock_timestamp())
  AND NOT EXISTS (
    SELECT FROM trust_cohort t WHERE t.platform = n.platform AND t.source = n.source AND t.operation = n.operation AND t.parser_version = n.version
      AND t.open_since IS NOT NULL)
