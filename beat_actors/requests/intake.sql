-- name: submit
-- Accepts requests, each with its first fetch: answers one from what is stored, lets it follow the request that leads the same work, or inserts it.
-- An idempotency key that its owner used before inserts nothing; rows from before keys had owners are looked for too. Neither does
-- what loses a race, against a request that became visible after the statement began. Where the keys of one call were used for something
-- else, nothing of it is inserted; and neither where one of them names a person who was erased.
-- The leader is locked before another request follows it, so that it cannot end meanwhile. It counts its followers (`waiters`), so that who ends
-- it learns of them. What is deferred begins to wait, and to grow older than its neighbours, when its time has come. The ids are drawn first, so
-- that requests and fetches go in together, and in the order of the call: where a lane is new nothing is inserted in the first round, since
-- ids in another order would tell that nobody used that lane before.
-- What a provider said to be missing or private is answered from that memory (`absence`), until it is time to ask again, unless it is forced.
-- What is inserted is PENDING, PROCESSING where its leader is begun, COMPLETE where it is stored, or FAILED where it is remembered as absent.
-- Parameters: lanes (jsonb: a list of objects with the columns of `w`), items (jsonb: a list of objects with the columns of `i`, of
-- which `lane` names one of the lanes).
-- Rows: one for each item that was accepted now or before (`same`: as the same request). Those of an item whose key was used for another
-- request say so, and then nothing was inserted; those that name an erased person have `accepted_as` "erased", and then nothing was inserted.
-- Locks: the leaders, by their ids; then the insert waits for a transaction that inserts the same work or key.
-- No row: of an item, that its lane is new, or that it lost a race; run the statement again for it.
WITH lanes AS (
    SELECT w.i, l.id AS lane_id
    FROM jsonb_to_recordset(%(lanes)s::jsonb) AS w(
        i integer, platform text, flow text, operation text, priority smallint, sources text[], owner text)
    JOIN lane l USING (platform, flow, operation, priority, sources, owner)
), input AS MATERIALIZED (
    SELECT i.*, decode(i.work_hex, 'hex') AS work, decode(i.digest_hex, 'hex') AS digest, decode(i.trace_hex, 'hex') AS trace, lanes.lane_id
    FROM jsonb_to_recordset(%(items)s::jsonb) AS i(
        n integer, platform text, flow text, params jsonb, priority smallint, account_id text, idempotency_key text, idempotency_owner text,
        expires_at timestamptz, api_key_id bigint, on_demand boolean, tags jsonb, batch_id bigint, work_hex text, digest_hex text, trace_hex text, apart boolean,
        max_age double precision, lane integer, operation text, fetch_params jsonb, cursor_source text, owner text,
        not_before timestamptz, waiting_for text)
    JOIN lanes ON lanes.i = i.lane WHERE (SELECT count(*) FROM lanes) = jsonb_array_length(%(lanes)s::jsonb)
), earlier AS MATERIALIZED (
    SELECT i.n, r.id, r.accepted_as, r.idempotency_digest IS NOT DISTINCT FROM i.digest AS same
    FROM input i JOIN scrape_request_log r ON r.idempotency_owner = i.idempotency_owner AND r.idempotency_key = i.idempotency_key
    WHERE i.idempotency_key IS NOT NULL
    UNION ALL
    SELECT i.n, r.id, r.accepted_as, r.idempotency_digest IS NOT DISTINCT FROM i.digest AS same
    FROM input i JOIN scrape_request_log r
        ON coalesce(r.account_id, '') = coalesce(i.account_id, '') AND r.idempotency_key = i.idempotency_key AND r.idempotency_owner IS NULL
       AND r.api_key_id IS NOT DISTINCT FROM i.api_key_id
    WHERE i.idempotency_key IS NOT NULL
), erased AS MATERIALIZED (
    -- Also where the lane is new: nothing is to be left of the request.
    SELECT i.n FROM jsonb_to_recordset(%(items)s::jsonb) AS i(n integer, platform text, params jsonb) WHERE EXISTS (SELECT FROM tombstone) AND EXISTS (
        SELECT FROM tombstone_key k, jsonb_path_query(i.params, '$.** ? (@.type() == "string")') p, LATERAL (SELECT p #>> '{}' AS word) w JOIN tombstone t ON true
        WHERE t.subject IN (beat_subject(k.key, i.platform, 'id', w.word), beat_subject(k.key, i.platform, 'name', w.word)))
), asked AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('scrape_request_log', 'id')) AS id, i.* FROM (
        SELECT * FROM input i WHERE NOT EXISTS (SELECT FROM earlier e WHERE e.n = i.n) AND NOT EXISTS (SELECT FROM earlier WHERE NOT same)
            AND NOT EXISTS (SELECT FROM erased)
        ORDER BY n) i
), found AS MATERIALIZED (
    SELECT a.id, s.joined_to, s.items, s.observed_at, s.data
    FROM asked a CROSS JOIN LATERAL (
        SELECT coalesce(r.joined_to, r.id) AS joined_to, r.items, r.observed_at, r.data FROM scrape_request_log r
        WHERE r.work = a.work AND r.status = 'COMPLETE' AND r.observed_at >= clock_timestamp() - make_interval(secs => a.max_age)
        ORDER BY r.observed_at DESC LIMIT 1) s
    WHERE a.max_age > 0 AND NOT a.apart
), known AS MATERIALIZED (
    SELECT a.id, b.code, b.said, b.last_at, b.ask_at
    FROM asked a JOIN absence b ON b.key = beat_absence(a.platform, a.flow, a.params, a.account_id)
    WHERE EXISTS (SELECT FROM absence) AND NOT a.apart AND b.ask_at > clock_timestamp() AND a.id NOT IN (SELECT id FROM found)
      AND NOT EXISTS (SELECT FROM scrape_request_log r WHERE r.work = a.work AND r.live AND NOT r.apart)
), rest AS MATERIALIZED (
    SELECT a.*, min(id) OVER alike AS first_id, count(*) OVER alike AS alike, min(priority) OVER alike AS urgency,
           first_value(lane_id) OVER (alike ORDER BY priority) AS urgent_lane,
           CASE WHEN bool_and(expires_at IS NOT NULL) OVER alike THEN max(expires_at) OVER alike END AS deadline
    FROM asked a WHERE id NOT IN (SELECT id FROM found) AND id NOT IN (SELECT id FROM known)
    WINDOW alike AS (PARTITION BY work, CASE WHEN apart THEN id END)
), in_flight AS MATERIALIZED (
    SELECT id, work, picked_at, priority, expires_at FROM scrape_request_log
    WHERE work = ANY(ARRAY(SELECT work FROM rest WHERE NOT apart)) AND live AND NOT apart
    ORDER BY id FOR NO KEY UPDATE
), new AS (
    INSERT INTO scrape_request_log (id, platform, flow, params, priority, account_id, idempotency_key, idempotency_owner, idempotency_digest, expires_at,
        api_key_id, on_demand, tags, batch_id, trace, work, apart, waiters, event_version)
    OVERRIDING SYSTEM VALUE
    SELECT id, platform, flow, params, urgency, account_id, idempotency_key, idempotency_owner, digest, expires_at, api_key_id, on_demand, tags, batch_id, trace, work, apart,
           alike - 1, 1
    FROM rest WHERE id = first_id AND (apart OR work NOT IN (SELECT work FROM in_flight)) ORDER BY work, id
    ON CONFLICT DO NOTHING RETURNING {{lifecycle.event_columns}}, 'accepted' AS happened
), fetched AS (
    INSERT INTO scrape_fetch (request_id, lane_id, platform, operation, params, cursor_source, priority, expires_at, owner,
                              tenant, not_before, waiting_for, created_at)
    SELECT id, urgent_lane, platform, operation, fetch_params, cursor_source, urgency, deadline, owner,
           beat_tenant(account_id, api_key_id), not_before, waiting_for, coalesce(not_before, clock_timestamp())
    FROM rest JOIN (SELECT id FROM new) made USING (id) ORDER BY n
), followers AS MATERIALIZED (
    SELECT r.*, coalesce(f.id, new.id) AS joined_to, f.picked_at, f.id IS NOT NULL AS in_flight_already,
           r.priority < f.priority OR (f.expires_at IS NOT NULL AND coalesce(r.expires_at > f.expires_at, true)) AS escalates
    FROM rest r LEFT JOIN in_flight f ON f.work = r.work AND NOT r.apart LEFT JOIN new ON new.id = r.first_id
    WHERE f.id IS NOT NULL OR (new.id IS NOT NULL AND r.id <> r.first_id)
), following AS (
    INSERT INTO scrape_request_log (id, platform, flow, params, priority, account_id, idempotency_key, idempotency_owner, idempotency_digest, expires_at,
        api_key_id, on_demand, tags, batch_id, trace, work, accepted_as, joined_to, live, open_fetches, status, picked_at, event_version)
    OVERRIDING SYSTEM VALUE
    SELECT id, platform, flow, params, priority, account_id, idempotency_key, idempotency_owner, digest, expires_at, api_key_id, on_demand, tags, batch_id, trace, work,
           'joined', joined_to, false, 0,
           CASE WHEN picked_at IS NULL THEN 'PENDING' ELSE 'PROCESSING' END, picked_at, 1
    FROM followers ORDER BY work, id
    ON CONFLICT DO NOTHING RETURNING {{lifecycle.event_columns}}, 'accepted' AS happened
), counted AS (
    UPDATE scrape_request_log r SET waiters = r.waiters + c.n, priority = least(r.priority, c.urgency)
    FROM (SELECT joined_to, count(*)::integer AS n, min(priority) AS urgency FROM followers JOIN (SELECT id FROM following) f USING (id) WHERE in_flight_already GROUP BY 1) c
    WHERE r.id = c.joined_to
), stored AS (
    INSERT INTO scrape_request_log (id, platform, flow, params, priority, account_id, idempotency_key, idempotency_owner, idempotency_digest, expires_at,
        api_key_id, on_demand, tags, batch_id, trace, work, accepted_as, joined_to, live, open_fetches, status, scraped_at, items, observed_at, data, event_version)
    OVERRIDING SYSTEM VALUE
    SELECT a.id, platform, flow, params, priority, account_id, idempotency_key, idempotency_owner, digest, expires_at, api_key_id, on_demand, tags, batch_id, trace, work,
           'stored', f.joined_to, false, 0,
           'COMPLETE', clock_timestamp(), f.items, f.observed_at, f.data, 1
    FROM asked a JOIN found f USING (id) ORDER BY work, id
    ON CONFLICT DO NOTHING RETURNING {{lifecycle.event_columns}}, 'complete' AS happened
), remembered AS (
    INSERT INTO scrape_request_log (id, platform, flow, params, priority, account_id, idempotency_key, idempotency_owner, idempotency_digest, expires_at,
        api_key_id, on_demand, tags, batch_id, trace, work, accepted_as, live, open_fetches, status, scraped_at, data, event_version)
    OVERRIDING SYSTEM VALUE
    SELECT a.id, platform, flow, params, priority, account_id, idempotency_key, idempotency_owner, digest, expires_at, api_key_id, on_demand, tags, batch_id, trace, work,
           'remembered', false, 0, 'FAILED', clock_timestamp(), jsonb_build_object('error', jsonb_build_object('code', k.code, 'message',
               k.said || '; this is remembered since ' || to_char(k.last_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC, and the provider is asked again from '
               || to_char(k.ask_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC on. To ask now, submit it with `force`',
               'said_at', k.last_at, 'ask_again_at', k.ask_at)), 1
    FROM asked a JOIN known k USING (id) ORDER BY work, id
    ON CONFLICT DO NOTHING RETURNING {{lifecycle.event_columns}}, 'failed' AS happened
), published AS (
    {{lifecycle.publish}} (SELECT * FROM new UNION ALL SELECT * FROM following UNION ALL SELECT * FROM stored UNION ALL SELECT * FROM remembered) made
)
SELECT n, id, accepted_as, false AS created, same, false AS escalated FROM earlier
UNION ALL SELECT n, 0, 'erased', false, true, false FROM erased
UNION ALL SELECT n, id, 'new', true, true, false FROM asked JOIN new USING (id)
UNION ALL SELECT n, id, 'stored', true, true, false FROM asked JOIN stored USING (id)
UNION ALL SELECT n, id, 'remembered', true, true, false FROM asked JOIN remembered USING (id)
UNION ALL SELECT n, id, 'joined', true, true, escalates AND in_flight_already AND beat_urge(joined_to, priority, expires_at) FROM followers JOIN (SELECT id FROM following) f USING (id)

-- name: used
-- Whether an idempotency key was used by its owner before. One look-up in the unique index of keys.
-- Parameters: owner, key (text).
-- No row: never.
SELECT EXISTS (SELECT FROM scrape_request_log WHERE idempotency_owner = %(owner)s AND idempotency_key = %(key)s) AS used
