-- fragment: trusted
-- What a cohort of which nothing is known has in its columns.
cohort = '', breaker = '', open_since = NULL, why = '', cause = NULL, by_hand = false, updated_at = clock_timestamp()

-- fragment: distrusted_no_more
-- Publishes that the data breakers of `standing` close, those that are open.
n AS (
    SELECT %(platform)s::text AS platform, %(source)s::text AS source, operation, parser_version AS version, false AS is_open, '' AS why, true AS by_hand
    FROM standing WHERE open_since IS NOT NULL
), published AS (
    {{holds/cohorts.breaker_events}}
    FROM n
)

-- name: breakers
-- The breakers of everybody's calls, the data breakers that are open, and of owners the 200 that stay open longest.
-- Parameters: source (text; null: of all sources).
-- No row: nothing has failed.
SELECT b.*, CASE WHEN kind = 'data' THEN 'open' WHEN open_until IS NULL THEN 'closed' WHEN open_until > clock_timestamp() THEN 'open' ELSE 'half-open' END AS state
FROM (
    SELECT platform, source, operation, kind, '' AS owner, calls, failures, trips, open_until, probing, by_hand, NULL::integer AS parser_version FROM breaker
    WHERE %(source)s::text IS NULL OR source = %(source)s
    UNION ALL
    SELECT platform, source, operation, 'data', '', 0, 0, 0, NULL, false, by_hand, parser_version FROM trust_cohort
    WHERE open_since IS NOT NULL AND (%(source)s::text IS NULL OR source = %(source)s)
    UNION ALL
    (SELECT platform, source, operation, kind, owner, calls, failures, trips, open_until, probing, false, NULL FROM owner_breaker
     WHERE open_until IS NOT NULL AND (%(source)s::text IS NULL OR source = %(source)s) ORDER BY open_until DESC LIMIT 200)
) b ORDER BY source, operation, kind, owner

-- name: credentials
-- How many credentials each source has, how many of them can be used now as far as cooldowns go, and how many are dead. It reads all of them.
SELECT source, count(*) AS of, count(*) FILTER (WHERE enabled AND dead_at IS NULL
    AND coalesce(disabled_till <= clock_timestamp(), true)) AS usable, count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead
FROM credential GROUP BY 1

-- name: in_flight
-- How many calls of each source are out.
-- No row: no call is out.
SELECT source, count(*) FILTER (WHERE call_of IS NULL) AS calls FROM scrape_fetch
WHERE stage = 'LEASED' AND source IS NOT NULL GROUP BY 1

-- name: open
-- Opens breakers by hand, as if each had tripped for the first time: when its time is over, one probe decides. Those that were closed are published.
-- Parameters: platform, source (text), operations (text[]), seconds (how long).
-- Locks: the breakers, under the platform's lock.
-- No row: never; the statement gives none.
WITH n AS (
    SELECT %(source)s::text AS source, o AS operation, 'upstream' AS kind, '' AS owner, true AS by_hand, NULL::jsonb AS opened_by,
           extract(epoch FROM clock_timestamp() + make_interval(secs => %(seconds)s)) AS open_until FROM unnest(%(operations)s::text[]) o
), published AS (
    {{store.breaker_events}}
    FROM n LEFT JOIN breaker b ON (b.platform, b.source, b.operation, b.kind) = (%(platform)s, n.source, n.operation, n.kind)
    WHERE b.open_until IS NULL
)
INSERT INTO breaker (platform, source, operation, kind, trips, open_until, by_hand, since)
SELECT %(platform)s::text, %(source)s::text, o, 'upstream', 1, clock_timestamp() + make_interval(secs => %(seconds)s), true, clock_timestamp()
FROM unnest(%(operations)s::text[]) o
ON CONFLICT (platform, source, operation, kind) DO UPDATE SET calls = 0, failures = 0, recent = '[]', since = clock_timestamp(),
    trips = greatest(breaker.trips, 1), open_until = excluded.open_until, probing = false, by_hand = true, opened_by = NULL

-- name: is_known
-- Whether anything was counted of a version of a parser.
-- Parameters: platform, source, operation (text), version (integer).
-- Rows: one boolean.
-- No row: never.
SELECT EXISTS (SELECT FROM trust_cohort
    WHERE platform = %(platform)s AND source = %(source)s AND operation = %(operation)s AND parser_version = %(version)s) AS known

-- name: distrust
-- Opens data breakers by hand, and publishes those that were closed. Nothing but a person, or another version of the parser, ends that.
-- Parameters: platform, source (text), operations (text[]) and versions (integer[]), pairwise: of their parsers.
-- Locks: the cohorts, in the order of their keys, under the platform's lock.
-- No row: never; the statement gives none.
WITH asked AS (
    SELECT %(platform)s::text AS platform, %(source)s::text AS source, o.operation, o.version, true AS is_open, '' AS why, true AS by_hand
    FROM unnest(%(operations)s::text[], %(versions)s::integer[]) AS o(operation, version)
), standing AS (
    SELECT t.operation, t.parser_version, t.open_since FROM asked a
    JOIN trust_cohort t ON (t.platform, t.source, t.operation, t.parser_version) = (a.platform, a.source, a.operation, a.version)
    ORDER BY 1, 2 FOR NO KEY UPDATE OF t
), n AS (
    SELECT a.* FROM asked a LEFT JOIN standing t ON (t.operation, t.parser_version) = (a.operation, a.version) WHERE t.open_since IS NULL
), published AS (
    {{holds/cohorts.breaker_events}}
    FROM n
)
INSERT INTO trust_cohort (platform, source, operation, parser_version, cohort, breaker, open_since, by_hand)
SELECT a.platform, a.source, a.operation, a.version, '', '', clock_timestamp(), true
FROM asked a LEFT JOIN standing t ON (t.operation, t.parser_version) = (a.operation, a.version) ORDER BY 3, 4
ON CONFLICT (platform, source, operation, parser_version) DO UPDATE SET open_since = clock_timestamp(), why = '', by_hand = true,
    updated_at = clock_timestamp()

-- name: trust
-- Closes the data breakers of a source, those that a person opened and those that Beat opened, and publishes it. What was counted of its data is deleted.
-- Parameters: platform, source (text), operations (text[]), version (integer; null: all).
-- Locks: the cohorts, under the platform's lock.
-- No row: never; the statement gives none.
WITH standing AS (
    SELECT operation, parser_version, open_since FROM trust_cohort
    WHERE platform = %(platform)s AND source = %(source)s AND operation = ANY(%(operations)s)
        AND (%(version)s::integer IS NULL OR parser_version = %(version)s)
    ORDER BY 1, 2 FOR NO KEY UPDATE
), {{distrusted_no_more}}
UPDATE trust_cohort SET {{trusted}}
WHERE platform = %(platform)s AND source = %(source)s AND (operation, parser_version) IN (SELECT operation, parser_version FROM standing)

-- name: close
-- Forgets what breakers know, of everybody's calls, of owners' and of the data, and publishes that those which were open are closed. What is known of
-- the data of next parsers stays.
-- Parameters: platform, source (text), operations (text[]) and following (integer[]), pairwise: the versions of next parsers; null: there is none.
-- Locks: the breakers, under the platform's lock; the cohorts of the source.
-- No row: never; the statement gives none.
WITH owners AS (
    DELETE FROM owner_breaker WHERE platform = %(platform)s AND source = %(source)s AND operation = ANY(%(operations)s)
    RETURNING source, operation, kind, owner, open_until
), everybodys AS (
    DELETE FROM breaker WHERE platform = %(platform)s AND source = %(source)s AND operation = ANY(%(operations)s)
    RETURNING source, operation, kind, '' AS owner, open_until
), standing AS (
    SELECT t.operation, t.parser_version, t.open_since FROM unnest(%(operations)s::text[], %(following)s::integer[]) AS o(operation, following)
    JOIN trust_cohort t ON t.platform = %(platform)s AND t.source = %(source)s AND t.operation = o.operation
        AND t.parser_version IS DISTINCT FROM o.following
    ORDER BY 1, 2 FOR NO KEY UPDATE OF t
), {{distrusted_no_more}}, trusted AS (
    UPDATE trust_cohort SET {{trusted}}
    WHERE platform = %(platform)s AND source = %(source)s AND (operation, parser_version) IN (SELECT operation, parser_version FROM standing)
), closed AS (
    SELECT source, operation, kind, owner, true AS by_hand, NULL::jsonb AS opened_by, NULL::double precision AS open_until
    FROM (SELECT * FROM owners UNION ALL SELECT * FROM everybodys) gone WHERE open_until IS NOT NULL
)
{{store.breaker_events}}
FROM closed n
