-- fragment: state
-- The state of the credential `c`, in the words that operators read.
CASE WHEN c.dead_at IS NOT NULL THEN 'dead' WHEN NOT c.enabled THEN 'disabled'
     WHEN c.disabled_till > clock_timestamp() THEN 'cooling'
     WHEN c.refreshes AND c.expires_at <= clock_timestamp() THEN 'refreshing'
     WHEN c.disabled_till IS NOT NULL THEN 'probing' ELSE 'ready' END

-- name: list
-- Credentials as people see them, by source and id. One pass over the credentials, and one look-up of the usage for each.
-- Parameters: source (text), id (bigint); NULL: any.
-- Rows: `CredentialInfo`. `calls`: all that were ever charged.
-- Locks: none.
-- No row: there is no such credential.
SELECT c.id, c.platform, c.source, c.label, c.owner, c.shared, c.weight, c.enabled, c.disabled_till, c.disabled_reason, c.dead_at, c.dead_reason,
       c.denied, c.denied_until, c.ladder, c.reported_remaining, c.reported_reset_at, c.key_id, c.created_at, c.scopes, c.expires_at,
       c.data_access_expires_at, c.check_at, c.checked_at, c.check_outcome, c.check_detail, c.refreshes, c.refreshed_at,
       coalesce(u.calls, 0) AS calls,
       {{state}} AS state
FROM credential c LEFT JOIN credential_usage u ON u.subject = 'credential:' || c.id AND u.limit_name = 'total'
WHERE (%(source)s::text IS NULL OR c.source = %(source)s) AND (%(id)s::bigint IS NULL OR c.id = %(id)s) ORDER BY c.source, c.id

-- name: recorded
-- What happened to a credential, newest first.
-- Parameters: id (bigint), limit (integer).
-- Rows: `CredentialEvent`.
-- Locks: none.
-- No row: nothing is recorded of it.
SELECT at, kind, until, cause FROM credential_event WHERE credential_id = %(id)s ORDER BY id DESC LIMIT %(limit)s
