-- fragment: opened
-- Opens alerts, `standing`, or updates the open ones with their keys. An open alert that was never announced is announced when nothing
-- holds it back any more, and one that has become more severe is announced again. That a parser cannot read the answers of a source explains that
-- they are in quarantine. An older process writes no `covers`; its alerts of the rule `source` cover their source. The column `told` holds the
-- severity that was announced last, NULL if none was.
standing AS (
    SELECT s.*, EXISTS (
        SELECT FROM alert o WHERE o.resolved_at IS NULL AND s.source = ANY(coalesce(o.covers, ARRAY[o.source]))
          AND (array_position(%(covering)s::text[], split_part(o.key, ':', 1))
               > coalesce(array_position(%(covering)s::text[], split_part(s.key, ':', 1)), 0)
               OR o.key = 'parser:' || s.source AND s.key LIKE 'quarantine:malformed:%%')) AS explained
    FROM jsonb_to_recordset(%(standing)s::jsonb) AS s(
        key text, severity text, cause text, impact text, automatic text, action text, source text, covers text[],
        platform text, over_at timestamptz, again_after double precision)
    WHERE beat_leads(%(epoch)s)
), known AS (
    SELECT s.*, a.id, a.told AS before,
           CASE WHEN NOT a.silenced AND NOT s.explained AND coalesce(array_position('{info,warning,critical}', s.severity) > array_position('{info,warning,critical}', a.told), true)
                THEN s.severity ELSE a.told END AS now_announced
    FROM standing s JOIN alert a ON a.key = s.key AND a.resolved_at IS NULL
), updated AS (
    UPDATE alert a SET severity = k.severity, cause = k.cause, impact = k.impact, automatic = k.automatic, action = k.action,
        explained = k.explained, told = k.now_announced, covers = k.covers, platform = k.platform, over_at = k.over_at
    FROM known k WHERE a.id = k.id AND a.resolved_at IS NULL
      AND (a.severity, a.cause, a.impact, a.automatic, a.action, a.explained, a.told, a.covers, a.platform, a.over_at)
          IS DISTINCT FROM (k.severity, k.cause, k.impact, k.automatic, k.action, k.explained, k.now_announced, k.covers, k.platform, k.over_at)
    RETURNING a.*, CASE WHEN k.before IS NULL THEN 'opened' ELSE 'escalated' END AS state, k.before IS DISTINCT FROM a.told AS announce
), opened AS (
    INSERT INTO alert (key, severity, cause, impact, automatic, action, source, covers, platform, over_at, explained, told)
    SELECT key, severity, cause, impact, automatic, action, source, covers, platform, over_at, explained, CASE WHEN NOT explained THEN severity END
    FROM standing s
    WHERE NOT EXISTS (SELECT FROM alert a WHERE a.key = s.key AND (
        a.resolved_at IS NULL OR a.opened_at > clock_timestamp() - make_interval(secs => s.again_after)
                                 AND array_position('{info,warning,critical}', coalesce(a.told, a.severity)) >= array_position('{info,warning,critical}', s.severity)))
    ON CONFLICT (key) WHERE resolved_at IS NULL DO NOTHING
    RETURNING *, 'opened' AS state, NOT explained AS announce
)

-- fragment: events
-- The events about alerts that were opened, escalated or resolved, `changed`. An event's id is derived from what it says, so that it is
-- written once.
, published AS (
    INSERT INTO event (event_id, type, subject, data)
    SELECT md5('alert ' || id || ' ' || state || CASE WHEN state = 'escalated' THEN ' ' || severity ELSE '' END)::uuid,
           'beat.alert.' || state, 'alert/' || key,
           jsonb_build_object('id', id, 'key', key, 'severity', severity, 'cause', cause, 'impact', impact, 'automatic', automatic,
                              'action', action, 'source', source, 'opened_at', opened_at)
           || CASE WHEN resolved_at IS NULL THEN '{}' ELSE jsonb_build_object(
               'resolved_at', resolved_at, 'seconds', round(extract(epoch FROM resolved_at - opened_at))) END
    FROM changed WHERE announce
)
SELECT count(*) AS changed FROM changed

-- name: open
-- Opens alerts, or updates the open ones with the same keys.
-- Parameters: standing (jsonb): an array of `Alert`, covering (text[]): the rules whose alerts explain those of other rules,
-- epoch (bigint): the leader's, NULL: no leader is asked for.
-- Rows: one: how many were opened or announced again.
-- Locks: the alerts; it waits for a transaction that opens one of the same key. The new events.
-- No row: never.
WITH {{opened}}, changed AS (SELECT * FROM opened UNION ALL SELECT * FROM updated WHERE announce) {{events}}

-- name: resolve
-- Resolves alerts. The end of an alert is announced only if the alert was.
-- Parameters: keys (text[]).
-- Rows: one: how many were resolved.
-- Locks: the alerts, the new events.
-- No row: never.
WITH changed AS (
    UPDATE alert SET resolved_at = clock_timestamp() WHERE key = ANY(%(keys)s) AND resolved_at IS NULL
    RETURNING *, 'resolved' AS state, NOT silenced AND told IS NOT NULL AS announce
) {{events}}

-- name: report
-- Makes the open alerts of a rule equal to `standing`: opens, updates and resolves. A leader that has been replaced changes nothing.
-- Parameters: standing (jsonb): an array of `Alert`, rule (text), covering (text[]) as of `open`, epoch (bigint): the leader's, NULL: no
-- leader is asked for.
-- Rows: one: how many were opened, announced again or resolved.
-- Locks: the alerts; it waits for a transaction that opens one of the same key. The new events.
-- No row: never.
WITH {{opened}}, resolved AS (
    UPDATE alert SET resolved_at = clock_timestamp()
    WHERE resolved_at IS NULL AND split_part(key, ':', 1) = %(rule)s AND key NOT IN (SELECT key FROM standing) AND beat_leads(%(epoch)s)
    RETURNING *, 'resolved' AS state, NOT silenced AND told IS NOT NULL AS announce
), changed AS (
    SELECT * FROM opened UNION ALL SELECT * FROM updated WHERE announce UNION ALL SELECT * FROM resolved
) {{events}}

-- name: list
-- Alerts: the open ones, those that are not silenced before the others and the most severe first, then the resolved ones, the last resolved first.
-- Parameters: all (boolean): also the resolved ones, limit (integer).
-- Rows: `AlertView`.
-- Locks: none.
-- No row: there is none.
SELECT id, key, severity, cause, impact, automatic, action, source, platform, opened_at, over_at, resolved_at, silenced OR explained AS silenced FROM alert
WHERE %(all)s OR resolved_at IS NULL ORDER BY resolved_at DESC NULLS FIRST, silenced OR explained, array_position('{critical,warning,info}', severity), id DESC
LIMIT %(limit)s

-- name: silence
-- Mutes or unmutes the notifications of an alert.
-- Parameters: id (bigint), silenced (boolean).
-- Rows: its key.
-- Locks: the alert.
-- No row: no such alert is open.
UPDATE alert SET silenced = %(silenced)s WHERE id = %(id)s AND resolved_at IS NULL RETURNING key
