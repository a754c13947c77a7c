-- fragment: happened
-- What a line of a credential's history, `w`, is published as; NULL: it is not.
CASE w.kind WHEN 'rate_limited' THEN 'cooling_down' WHEN 'quota_exhausted' THEN 'exhausted' WHEN 'recovered' THEN 'revived'
     WHEN 'dead' THEN 'dead' WHEN 'revived' THEN 'revived' END

-- name: save_credentials
-- Writes back what the turn changed of credentials. `disabled_till` only ever grows: a rest that a person or another turn made longer is not
-- shortened; the one write that clears it is a probe's success. What is dead is checked and refreshed when it is looked at again, or to
-- prove its new secret.
-- Parameters: rows (json array, with the keys below), ids (bigint[]: theirs once more, so that the rows are found by them and the table is
-- not read for a join).
-- Locks: the credentials, under the platform's lock.
-- No row: never; the statement gives none.
UPDATE credential c SET
    disabled_till = CASE WHEN n.disabled_till IS NULL THEN NULL ELSE greatest(c.disabled_till, to_timestamp(n.disabled_till)) END,
    disabled_reason = n.disabled_reason,
    dead_at = CASE WHEN n.dead THEN coalesce(c.dead_at, clock_timestamp()) END, dead_reason = n.dead_reason,
    denied = n.denied, denials = n.denials, denied_until = to_timestamp(n.denied_until), ladder = n.ladder, ladder_at = to_timestamp(n.ladder_at), probing = n.probing,
    reported_remaining = n.reported_remaining, reported_reset_at = to_timestamp(n.reported_reset_at),
    dead_looks = n.looks,
    check_at = CASE WHEN n.look_at IS NOT NULL THEN to_timestamp(n.look_at) WHEN n.dead AND NOT n.unproven THEN NULL ELSE c.check_at END,
    refresh_at = CASE WHEN n.look_at IS NOT NULL AND c.refreshes THEN to_timestamp(n.look_at) WHEN n.dead AND NOT n.unproven THEN NULL WHEN n.refused THEN clock_timestamp() ELSE c.refresh_at END,
    expires_at = CASE WHEN n.refused THEN to_timestamp(n.good_until) ELSE c.expires_at END,
    updated_at = clock_timestamp()
FROM jsonb_to_recordset(%(rows)s::jsonb) AS n(
    id bigint, disabled_till double precision, disabled_reason text, dead boolean, dead_reason text, denied text[],
    ladder smallint, ladder_at double precision, probing boolean, reported_remaining integer, reported_reset_at double precision,
    unproven boolean, refused boolean, good_until double precision, looks smallint, look_at double precision,
    denials jsonb, denied_until double precision)
WHERE c.id = n.id AND c.id = ANY(%(ids)s)

-- name: save_full
-- Notes until when the own limits of credentials have no room.
-- Parameters: ids (bigint[]), until (double precision[]: epoch seconds, null where they have).
-- Locks: the credentials, under the platform's lock.
-- No row: never; the statement gives none.
UPDATE credential c SET full_until = to_timestamp(n.until) FROM unnest(%(ids)s::bigint[], %(until)s::double precision[]) AS n(id, until)
WHERE c.id = n.id AND c.id = ANY(%(ids)s)

-- name: save_checked
-- Notes what checks came to, and when the next is due. A refresh says how long its token is good; a check of it does not know better.
-- To be done before `save_credentials`: a check that found a credential dead ends its being checked.
-- Parameters: rows (json array, with the keys below).
-- Locks: the credentials, under the platform's lock.
-- No row: never; the statement gives none.
UPDATE credential c SET checked_at = to_timestamp(n.at), check_at = to_timestamp(n.next_at), check_outcome = n.outcome,
    check_detail = n.detail,
    scopes = CASE WHEN n.facts IS NULL THEN c.scopes WHEN jsonb_typeof(n.facts->'scopes') = 'array'
                  THEN ARRAY(SELECT jsonb_array_elements_text(n.facts->'scopes')) END,
    expires_at = CASE WHEN n.facts IS NULL OR c.refreshes THEN c.expires_at
                      ELSE to_timestamp((n.facts->>'expires_at')::double precision) END,
    data_access_expires_at = CASE WHEN n.facts IS NULL THEN c.data_access_expires_at
                                  ELSE to_timestamp((n.facts->>'data_access_expires_at')::double precision) END
FROM jsonb_to_recordset(%(rows)s::jsonb) AS n(
    credential_id bigint, at double precision, next_at double precision, outcome text, detail text, facts jsonb)
WHERE c.id = n.credential_id

-- fragment: breaker_events
-- An event for each breaker of `n` that has opened or closed, where `b` is the breaker as it was. The platform's lock lets nobody else change it.
-- One that opens again before it has closed, after a probe that failed, is not published again.
INSERT INTO event (event_id, type, subject, data, owner)
SELECT md5(concat_ws(' ', 'breaker', %(platform)s::text, n.source, n.operation, n.kind, n.owner, n.open_until IS NOT NULL, extract(epoch FROM now())))::uuid,
       'beat.breaker.' || CASE WHEN n.open_until IS NULL THEN 'closed' ELSE 'opened' END,
       concat_ws('/', 'breaker', n.source, n.operation, n.kind, nullif(n.owner, '')),
       jsonb_build_object('platform', %(platform)s::text, 'source', n.source, 'operation', n.operation, 'kind', n.kind,
           'owner', nullif(n.owner, ''), 'until', to_timestamp(n.open_until), 'opened_by', n.opened_by, 'by_hand', n.by_hand), n.owner

-- name: save_breakers
-- Writes the breakers of everybody's calls, and publishes which have opened or closed.
-- Parameters: platform (text), rows (json array, with the keys below).
-- Locks: the breakers, under the platform's lock.
-- No row: never; the statement gives none.
WITH n AS (
    SELECT *, '' AS owner FROM jsonb_to_recordset(%(rows)s::jsonb) AS n(
        source text, operation text, kind text, since double precision, recent jsonb, calls integer, failures integer, trips integer,
        open_until double precision, probing boolean, by_hand boolean, unreached jsonb, opened_by jsonb)
), published AS (
    {{breaker_events}}
    FROM n LEFT JOIN breaker b ON (b.platform, b.source, b.operation, b.kind) = (%(platform)s, n.source, n.operation, n.kind)
    WHERE (b.open_until IS NOT NULL) <> (n.open_until IS NOT NULL)
)
INSERT INTO breaker (platform, source, operation, kind, since, recent, calls, failures, trips, open_until, probing, by_hand, unreached,
                     opened_by)
SELECT %(platform)s::text, n.source, n.operation, n.kind, to_timestamp(n.since), n.recent, n.calls, n.failures, n.trips, to_timestamp(n.open_until),
       n.probing, n.by_hand, n.unreached, n.opened_by
FROM n
ON CONFLICT (platform, source, operation, kind) DO UPDATE SET
    since = excluded.since, recent = excluded.recent, calls = excluded.calls, failures = excluded.failures,
    trips = excluded.trips, open_until = excluded.open_until, probing = excluded.probing, by_hand = excluded.by_hand,
    unreached = excluded.unreached, opened_by = excluded.opened_by

-- name: save_owners_breakers
-- Writes the breakers of owners, and publishes which have opened or closed. One without failures is forgotten, so that healthy owners cost no row.
-- Parameters: platform (text), rows (json array, with the keys below, in the key's order, so that it cannot deadlock).
-- Locks: the breakers, under the platform's lock.
-- No row: never; the statement gives none.
WITH n AS (
    SELECT %(platform)s::text AS platform, false AS by_hand, r.* FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
        source text, operation text, kind text, owner text, since double precision, recent jsonb, calls integer, failures integer,
        trips integer, open_until double precision, probing boolean, unreached jsonb, opened_by jsonb)
), published AS (
    {{breaker_events}}
    FROM n LEFT JOIN owner_breaker b
        ON (b.platform, b.source, b.operation, b.kind, b.owner) = (n.platform, n.source, n.operation, n.kind, n.owner)
    WHERE (b.open_until IS NOT NULL) <> (n.open_until IS NOT NULL)
), forgotten AS (
    DELETE FROM owner_breaker b USING n WHERE n.failures = 0 AND n.open_until IS NULL
      AND (b.platform, b.source, b.operation, b.kind, b.owner) = (n.platform, n.source, n.operation, n.kind, n.owner)
)
INSERT INTO owner_breaker (platform, source, operation, kind, owner, since, recent, calls, failures, trips, open_until, probing, unreached,
                           opened_by)
SELECT n.platform, n.source, n.operation, n.kind, n.owner, to_timestamp(n.since), n.recent, n.calls, n.failures, n.trips,
       to_timestamp(n.open_until), n.probing, n.unreached, n.opened_by
FROM n WHERE n.failures > 0 OR n.open_until IS NOT NULL
ON CONFLICT (platform, source, operation, kind, owner) DO UPDATE SET
    since = excluded.since, recent = excluded.recent, calls = excluded.calls, failures = excluded.failures, trips = excluded.trips,
    open_until = excluded.open_until, probing = excluded.probing, unreached = excluded.unreached,
    opened_by = excluded.opened_by

-- name: save_usage
-- Writes what is used of limits.
-- Parameters: rows (json array of {subject, limit_name, head, counts}).
-- Locks: these rows, under the platform's lock.
INSERT INTO credential_usage (subject, limit_name, head, counts)
SELECT n.subject, n.limit_name, n.head, n.counts
FROM jsonb_to_recordset(%(rows)s::jsonb) AS n(subject text, limit_name text, head bigint, counts integer[])
ON CONFLICT (subject, limit_name) DO UPDATE SET head = excluded.head, counts = excluded.counts

-- name: count_calls
-- Adds calls to each credential's total, which is what the ledger is held against.
-- Parameters: ids (bigint[]), calls (bigint[]).
-- Locks: the totals, under the platform's lock.
INSERT INTO credential_usage (subject, limit_name, calls)
SELECT 'credential:' || n.id, 'total', n.calls FROM unnest(%(ids)s::bigint[], %(calls)s::bigint[]) AS n(id, calls)
ON CONFLICT (subject, limit_name) DO UPDATE SET calls = credential_usage.calls + excluded.calls

-- name: count_outcomes
-- Counts calls by source, operation and outcome, for good.
-- Parameters: platform (text), sources, operations, outcomes (text[]), calls (bigint[]): parallel lists, each set of names once.
-- Locks: the counted rows, under the platform's lock.
-- No row: never; the statement gives none.
INSERT INTO call_total AS t (platform, source, operation, outcome, calls)
SELECT %(platform)s, * FROM unnest(%(sources)s::text[], %(operations)s::text[], %(outcomes)s::text[], %(calls)s::bigint[])
ON CONFLICT (platform, source, operation, outcome) DO UPDATE SET calls = t.calls + excluded.calls

-- name: count_refusals
-- Counts calls that were refused for a reason that no rule knows: one row for each source and operation, which begins anew with the first
-- refusal after an hour.
-- Parameters: platform (text), rows (json array of {source, operation, calls, code}, the code of the last).
-- Locks: these rows, under the platform's lock.
INSERT INTO refusal AS r (platform, source, operation, since, at, calls, code)
SELECT %(platform)s::text, n.source, n.operation, clock_timestamp(), clock_timestamp(), n.calls, n.code
FROM jsonb_to_recordset(%(rows)s::jsonb) AS n(source text, operation text, calls integer, code text)
ON CONFLICT (platform, source, operation) DO UPDATE SET at = excluded.at, code = excluded.code,
    since = CASE WHEN r.since > excluded.at - interval '1 hour' THEN r.since ELSE excluded.since END,
    calls = CASE WHEN r.since > excluded.at - interval '1 hour' THEN r.calls ELSE 0 END + excluded.calls

-- name: save_events
-- Writes lines of credentials' histories, and publishes those that change whether a credential can be used.
-- Parameters: platform (text), rows (json array of {credential_id, kind, until, cause}).
-- Locks: none that others wait for.
-- No row: never; the statement gives none.
WITH written AS (
    INSERT INTO credential_event (credential_id, kind, until, cause)
    SELECT n.credential_id, n.kind, to_timestamp(n.until), n.cause
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS n(credential_id bigint, kind text, until double precision, cause jsonb)
    RETURNING id, credential_id, kind, until, cause, at
)
INSERT INTO event (event_id, type, subject, data)
SELECT md5('credential ' || w.id)::uuid, 'beat.credential.' || {{happened}}, 'credential/' || w.credential_id,
       jsonb_build_object('id', w.credential_id, 'platform', %(platform)s::text, 'source', c.source, 'until', w.until, 'reason', w.kind,
                          'operation', w.cause->>'operation', 'code', w.cause->>'code')
FROM written w JOIN credential c ON c.id = w.credential_id WHERE {{happened}} IS NOT NULL ORDER BY w.id
