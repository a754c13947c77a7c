-- fragment: seen
-- Whether a reader sees the endpoint `e`: its own account's; without an account those that its key made, and with `all` everybody's.
(%(account)s::text IS NULL AND (%(all)s OR e.api_key_id = %(key)s) OR e.account_id = %(account)s)

-- fragment: shows_maker
-- Whether a reader sees who made an endpoint: those who operate do, keys of the same account, and the maker itself.
(%(all)s OR k.account_id = %(account)s OR k.id = %(key)s)

-- fragment: view
-- An endpoint, `e`, as `EndpointView` has it.
e.id, e.account_id, e.url, e.events, CASE WHEN e.state = 'active' AND NOT ({{makers.maker_lives}}) THEN 'paused' ELSE e.state END AS state,
    CASE WHEN e.state = 'paused' THEN 'asked' WHEN e.state = 'disabled' THEN 'gone'
         WHEN NOT ({{makers.maker_lives}}) THEN (SELECT CASE WHEN k.revoked_at IS NULL THEN 'key_expired' ELSE 'key_revoked' END
                                        FROM api_key k WHERE k.id = e.api_key_id) END AS reason,
    (SELECT k.id FROM api_key k WHERE k.id = e.api_key_id AND {{shows_maker}}) AS api_key_id,
    (SELECT k.name FROM api_key k WHERE k.id = e.api_key_id AND {{shows_maker}}) AS api_key_name,
    CASE WHEN e.failures >= %(failures)s THEN 'open' ELSE 'closed' END AS breaker, e.failures,
    CASE WHEN e.open_until > clock_timestamp() THEN e.open_until END AS open_until, e.last_success_at, e.last_failure_at, e.last_error,
    e.created_at

-- name: create
-- Adds an endpoint under an id that was drawn before.
-- Parameters: id (bigint), account (text or NULL), url (text), events (text[]), key (bigint or NULL): the id of its maker's key, key_id (text),
-- secret (bytea, sealed), all (boolean): the maker is shown to everybody, failures (integer) from which its breaker is open.
-- Rows: `EndpointView`, one.
-- Locks: the new row alone.
-- No row: never.
INSERT INTO webhook_endpoint AS e (id, account_id, url, events, api_key_id, key_id, secret) OVERRIDING SYSTEM VALUE
VALUES (%(id)s, %(account)s, %(url)s, %(events)s, %(key)s, %(key_id)s, %(secret)s) RETURNING {{view}}

-- name: next_id
-- The id of the endpoint that is added next. It is drawn before the row is written, because the seal of its secret is bound to it.
-- Locks: none.
SELECT nextval(pg_get_serial_sequence('webhook_endpoint', 'id')) AS id

-- name: count
-- How many endpoints an account has, or the installation.
-- Parameters: account (text, NULL: the installation).
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT count(*) AS endpoints FROM webhook_endpoint WHERE account_id IS NOT DISTINCT FROM %(account)s::text

-- name: alone
-- Lets one transaction at a time count and add endpoints.
-- Locks: an advisory lock until the transaction ends; it waits for it.
SELECT FROM pg_advisory_xact_lock(hashtext('beat.webhooks'))

-- name: list
-- All endpoints that a reader sees.
-- Parameters: failures (integer) from which its breaker is open, all (boolean): everybody's are seen, account (text or NULL): whose
-- are seen, key (bigint or NULL): the id of the reader's key.
-- Rows: `EndpointView`, by id.
-- Locks: none.
-- No row: the reader sees none.
SELECT {{view}} FROM webhook_endpoint e WHERE {{seen}} ORDER BY e.id

-- name: find
-- An endpoint, if the reader sees it.
-- Parameters: id (bigint), failures (integer) from which its breaker is open, all (boolean): everybody's are seen, account (text or NULL): whose
-- are seen, key (bigint or NULL): the id of the reader's key.
-- Rows: `EndpointView`.
-- Locks: none.
-- No row: there is no such endpoint, or it is somebody else's.
SELECT {{view}} FROM webhook_endpoint e WHERE e.id = %(id)s AND {{seen}}

-- name: find_to_change
-- An endpoint, if the reader sees it, that is changed next.
-- Parameters: id (bigint), failures (integer) from which its breaker is open, all (boolean): everybody's are seen, account (text or NULL): whose
-- are seen, key (bigint or NULL): the id of the reader's key.
-- Rows: `EndpointView`.
-- Locks: the endpoint.
-- No row: there is no such endpoint, or it is somebody else's.
SELECT {{view}} FROM webhook_endpoint e WHERE e.id = %(id)s AND {{seen}} FOR NO KEY UPDATE OF e

-- name: change
-- Changes what is not NULL. A reader who resumes an endpoint whose maker's key has ended answers for it from then on.
-- Parameters: id (bigint), url (text), events (text[]), state (text), anew (boolean): it begins with a closed breaker,
-- failures (integer) from which its breaker is open, all (boolean): everybody's are seen, account (text or NULL): whose
-- are seen, key (bigint or NULL): the id of the reader's key.
-- Rows: `EndpointView`, one.
-- Locks: the endpoint, which `find_to_change` has locked.
-- No row: there is no such endpoint.
UPDATE webhook_endpoint e SET url = coalesce(%(url)s, url), events = coalesce(%(events)s::text[], events),
    state = coalesce(%(state)s, state),
    failures = CASE WHEN %(anew)s THEN 0 ELSE failures END, trips = CASE WHEN %(anew)s THEN 0 ELSE trips END,
    open_until = CASE WHEN %(anew)s THEN NULL ELSE open_until END,
    api_key_id = CASE WHEN %(state)s = 'active' AND NOT ({{makers.maker_lives}}) THEN %(key)s ELSE api_key_id END
WHERE e.id = %(id)s RETURNING {{view}}

-- name: delete
-- Deletes an endpoint, and its deliveries with it.
-- Parameters: id (bigint).
-- Locks: the endpoint and its deliveries.
-- No row: there is no such endpoint.
DELETE FROM webhook_endpoint WHERE id = %(id)s

-- name: rotate
-- Gives an endpoint a new signing secret. The old one signs as well for 24 h.
-- Parameters: id (bigint), key_id (text), secret (bytea, sealed).
-- Rows: when the old secret stops.
-- Locks: the endpoint, which `find_to_change` has locked.
-- No row: there is no such endpoint.
UPDATE webhook_endpoint SET old_key_id = key_id, old_secret = secret, old_until = clock_timestamp() + interval '24 hours',
    key_id = %(key_id)s, secret = %(secret)s WHERE id = %(id)s RETURNING old_until

-- name: count_test
-- Counts a test event in a window of a minute for each subject, the endpoint and its account. Up to 100 rows of long ago are deleted on
-- the way.
-- Parameters: subjects (text[], sorted).
-- Rows: `Tests`, one for each subject.
-- Locks: the subjects' rows, in their order; it waits for them. For old rows it does not wait.
-- No row: never.
WITH gone AS (
    DELETE FROM webhook_test WHERE subject = ANY(ARRAY(
        SELECT subject FROM webhook_test WHERE began < (SELECT clock_timestamp() - interval '1 hour') AND NOT (subject = ANY(%(subjects)s::text[]))
        ORDER BY began LIMIT 100 FOR UPDATE SKIP LOCKED))
)
INSERT INTO webhook_test AS t (subject, began, sent) SELECT subject, clock_timestamp(), 1 FROM unnest(%(subjects)s::text[]) AS s(subject)
ON CONFLICT (subject) DO UPDATE SET
    began = CASE WHEN t.began <= clock_timestamp() - interval '1 minute' THEN excluded.began ELSE t.began END,
    sent = CASE WHEN t.began <= clock_timestamp() - interval '1 minute' THEN 1 ELSE t.sent + 1 END
RETURNING subject, sent, extract(epoch FROM began + interval '1 minute' - clock_timestamp())::float8 AS seconds

-- name: send_test
-- Sends an event to one endpoint alone.
-- Parameters: endpoint (bigint), event (uuid), type (text), data (jsonb).
-- Rows: the delivery's id.
-- Locks: the new row; its endpoint cannot be deleted meanwhile.
-- No row: never.
INSERT INTO webhook_delivery (endpoint_id, event_id, type, data, occurred_at, next_at, expires_at)
VALUES (%(endpoint)s, %(event)s, %(type)s, %(data)s::jsonb, clock_timestamp(), clock_timestamp(), clock_timestamp() + interval '24 hours') RETURNING id

-- name: deliveries
-- A page of an endpoint's deliveries, newest first, by the index on endpoint and id.
-- Parameters: id (bigint): the endpoint, state (text, NULL: any), before (bigint, NULL: from the newest on): an id, limit (integer).
-- Rows: `DeliveryView`.
-- Locks: none.
-- No row: there are none.
SELECT id, event_id, type, occurred_at, state, attempt, CASE WHEN state = 'pending' THEN next_at END AS next_at, expires_at,
       status, error, ended_at
FROM webhook_delivery WHERE endpoint_id = %(id)s AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s

-- name: state_of
-- The state of an endpoint's delivery.
-- Parameters: endpoint, id (bigint).
-- Rows: the state.
-- Locks: none.
-- No row: the endpoint has no such delivery.
SELECT state FROM webhook_delivery WHERE endpoint_id = %(endpoint)s AND id = %(id)s

-- name: resend
-- Makes deliveries due again. What is out at this moment is left alone. Delays start anew; `attempt` goes on, since it is the fence.
-- Parameters: endpoint (bigint), id (bigint): one delivery, or NULL: those that failed, since (timestamptz): of events from then on, limit
-- (integer).
-- Rows: their ids.
-- Locks: the deliveries, in the order of their ids.
-- No row: there is no such delivery, or it is pending.
WITH again AS (
    SELECT id FROM webhook_delivery WHERE endpoint_id = %(endpoint)s AND state <> 'pending'
      AND CASE WHEN %(id)s::bigint IS NULL THEN state = 'failed' AND occurred_at >= %(since)s ELSE id = %(id)s END
    ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE
)
UPDATE webhook_delivery d SET state = 'pending', next_at = clock_timestamp(), expires_at = clock_timestamp() + interval '24 hours',
    ended_at = NULL, lease_until = NULL, resent_after = attempt FROM again WHERE d.id = again.id RETURNING d.id

-- name: otherwise_sealed
-- Endpoints with a secret that another key than this one sealed.
-- Parameters: key (text): the key's id, limit (integer).
-- Rows: `Sealed`, by id.
-- Locks: those endpoints, in the order of their ids, until they are sealed anew.
-- No row: all are sealed with this key.
SELECT id, key_id, secret, CASE WHEN old_until > clock_timestamp() THEN old_key_id END AS old_key_id, old_secret
FROM webhook_endpoint WHERE key_id <> %(key)s OR old_key_id <> %(key)s ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE

-- name: seal_anew
-- Stores secrets that were sealed anew.
-- Parameters: id (bigint), key_id (text), secret (bytea), old_key_id (text or NULL), old_secret (bytea or NULL).
-- Locks: the endpoint, which `otherwise_sealed` has locked.
-- No row: there is no such endpoint.
UPDATE webhook_endpoint SET key_id = %(key_id)s, secret = %(secret)s, old_key_id = %(old_key_id)s, old_secret = %(old_secret)s WHERE id = %(id)s
