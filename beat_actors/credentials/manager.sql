-- name: next_id
-- The id of the credential that is added next. It is drawn before the row is written, because the seal of the secret is bound to it.
-- Locks: none.
SELECT nextval(pg_get_serial_sequence('credential', 'id')) AS id

-- name: insert
-- Adds a credential under an id that was drawn before. A duplicate is found by its fingerprint. A credential that refreshes has no token
-- yet, so its token counts as expired.
-- Parameters: id (bigint), platform, source, label (text), owner (text or NULL), shared (boolean), fingerprint (bytea), key_id (text),
-- secret (bytea, sealed), weight (integer), refreshes (boolean).
-- Rows: its id.
-- Locks: the new row; it waits for a transaction that adds the same secret.
-- No row: the source has a credential with this secret already.
INSERT INTO credential (id, platform, source, label, owner, shared, fingerprint, key_id, secret, weight, refreshes, expires_at)
OVERRIDING SYSTEM VALUE
VALUES (%(id)s, %(platform)s, %(source)s, %(label)s, %(owner)s, %(shared)s, %(fingerprint)s, %(key_id)s, %(secret)s, %(weight)s, %(refreshes)s,
        CASE WHEN %(refreshes)s THEN clock_timestamp() END)
ON CONFLICT (source, fingerprint) DO NOTHING RETURNING id

-- name: replace
-- Gives a credential a new secret. What was known was known of the old secret, and is forgotten. A dead credential stays dead until its new
-- secret is seen to work, where that can be seen.
-- Parameters: id (bigint), owner (text or NULL), fingerprint (bytea), key_id (text), secret (bytea, sealed), refreshes (boolean), checked
-- (boolean): its source has a check, to_prove (boolean): a check or a refresh shows whether the secret works.
-- Locks: the credential. Run under the platform's lock.
-- No row: there is no such credential.
-- Raises UniqueViolation where another credential of the source has this secret.
UPDATE credential SET owner = %(owner)s, fingerprint = %(fingerprint)s, key_id = %(key_id)s, secret = %(secret)s,
    generation = generation + 1, refreshes = %(refreshes)s,
    dead_at = CASE WHEN %(to_prove)s THEN dead_at END,
    dead_reason = CASE WHEN %(to_prove)s AND dead_at IS NOT NULL THEN 'its new secret has not been seen to work yet' END,
    dead_looks = 0,
    check_at = CASE WHEN %(checked)s THEN clock_timestamp() END, checked_at = NULL, check_outcome = NULL, check_detail = NULL,
    scopes = NULL, expires_at = CASE WHEN %(refreshes)s THEN clock_timestamp() END, data_access_expires_at = NULL,
    refresh_at = CASE WHEN %(refreshes)s THEN clock_timestamp() END, refreshed_at = NULL,
    disabled_till = NULL, disabled_reason = NULL, denied = '{}', denials = '{}', denied_until = NULL, ladder = 0, ladder_at = NULL, probing = false,
    reported_remaining = NULL, reported_reset_at = NULL, updated_at = clock_timestamp()
WHERE id = %(id)s

-- name: renew
-- Stores the secrets that refreshes brought. The generation is the fence: of two refreshers one finds its own, and a secret that a person
-- gave meanwhile is not overwritten. It is the only fence, because a token that came late is a good one, and the grant that it was got with
-- may be spent.
-- Parameters: arrays of equal length: ids (bigint[]), generations (integer[]), fingerprints (bytea[]), key_ids (text[]), secrets (bytea[],
-- sealed), expires_at, refresh_at (double precision[], epoch seconds).
-- Rows: the ids of the credentials that were renewed.
-- Locks: the credentials. Run under the platform's lock.
-- No row: all of them have another secret by now.
UPDATE credential c SET fingerprint = n.fingerprint, key_id = n.key_id, secret = n.secret, generation = c.generation + 1,
    refreshed_at = clock_timestamp(), expires_at = to_timestamp(n.expires_at), refresh_at = to_timestamp(n.refresh_at)
FROM unnest(%(ids)s::bigint[], %(generations)s::integer[], %(fingerprints)s::bytea[], %(key_ids)s::text[], %(secrets)s::bytea[],
            %(expires_at)s::double precision[], %(refresh_at)s::double precision[])
    AS n(id, generation, fingerprint, key_id, secret, expires_at, refresh_at)
WHERE c.id = n.id AND c.generation = n.generation RETURNING c.id

-- name: known
-- The credential that has a secret.
-- Parameters: source (text), fingerprint (bytea).
-- Rows: its id.
-- Locks: none.
-- No row: no credential of the source has this secret.
SELECT id FROM credential WHERE source = %(source)s AND fingerprint = %(fingerprint)s

-- name: event
-- Records what a person did to a credential.
-- Parameters: id (bigint), kind (text), cause (jsonb).
-- Locks: the new row alone.
INSERT INTO credential_event (credential_id, kind, until, cause) VALUES (%(id)s, %(kind)s, NULL, %(cause)s)

-- name: lacking
-- Live processes that use the vault and lack a key, or hold another key of that name.
-- Parameters: seconds (integer) within which a live process has reported, key (text): the key's fingerprint.
-- Rows: `Lacking`, by name, host and pid.
-- Locks: none.
-- No row: every live process holds the key.
SELECT name, host, pid FROM process WHERE seen_at > clock_timestamp() - make_interval(secs => %(seconds)s) AND NOT %(key)s = ANY(vault_keys)
ORDER BY name, host, pid

-- name: secrets
-- The sealed secrets of credentials.
-- Parameters: ids (bigint[]).
-- Rows: `Sealed`.
-- Locks: none.
-- No row: none of them exists.
SELECT id, source, key_id, secret FROM credential WHERE id = ANY(%(ids)s)

-- name: otherwise_sealed
-- Credentials that another key than this one sealed.
-- Parameters: key (text): the key's id, limit (integer).
-- Rows: `Sealed`, by id.
-- Locks: those credentials, in the order of their ids, until they are sealed anew.
-- No row: all are sealed with this key.
SELECT id, source, key_id, secret FROM credential WHERE key_id <> %(key)s ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE

-- name: seal_anew
-- Stores secrets that were sealed anew. What they say is unchanged, so their generation is too.
-- Parameters: arrays of equal length: ids (bigint[]), key_ids (text[]), secrets (bytea[], sealed).
-- Locks: the credentials, which `otherwise_sealed` has locked.
-- No row: none of them exists any more.
UPDATE credential c SET key_id = n.key_id, secret = n.secret
FROM unnest(%(ids)s::bigint[], %(key_ids)s::text[], %(secrets)s::bytea[]) AS n(id, key_id, secret) WHERE c.id = n.id


-- name: enable
-- Puts a credential back into use at once: enabled, alive, no cooldown, nothing denied. Its check and refresh are due at once.
-- Parameters: id (bigint).
-- Locks: the credential. Run under the platform's lock.
-- No row: there is no such credential.
UPDATE credential SET enabled = true, disabled_till = NULL, disabled_reason = NULL, dead_at = NULL, dead_reason = NULL, dead_looks = 0,
    denied = '{}', denials = '{}', denied_until = NULL, probing = false, check_at = NULL, refresh_at = NULL, updated_at = clock_timestamp()
WHERE id = %(id)s

-- name: disable
-- Takes a credential out of use until a person enables it.
-- Parameters: id (bigint).
-- Locks: the credential. Run under the platform's lock.
-- No row: there is no such credential.
UPDATE credential SET enabled = false, updated_at = clock_timestamp() WHERE id = %(id)s

-- name: share
-- Says whether a credential also serves calls that need no owner.
-- Parameters: id (bigint), shared (boolean).
-- Locks: the credential. Run under the platform's lock.
-- No row: there is no such credential.
UPDATE credential SET shared = %(shared)s, updated_at = clock_timestamp() WHERE id = %(id)s

-- name: reset
-- Ends a cooldown now; the backoff of the next one begins at its first step.
-- Parameters: id (bigint).
-- Locks: the credential. Run under the platform's lock.
-- No row: there is no such credential.
UPDATE credential SET disabled_till = NULL, disabled_reason = NULL, ladder = 0, ladder_at = NULL, probing = false,
    reported_remaining = NULL, reported_reset_at = NULL, updated_at = clock_timestamp()
WHERE id = %(id)s
