-- name: standing
-- Of leases those whose credential may still be called. It reads one row for each lease of a batch.
-- Parameters: ids and credentials (bigint[]), generations (integer[]: of the secrets), pairwise, upkeep (boolean: a dead credential too).
-- No row: of a lease, that its credential was put out of use, or has another secret.
SELECT n.id FROM unnest(%(ids)s::bigint[], %(credentials)s::bigint[], %(generations)s::integer[]) AS n(id, credential_id, generation)
JOIN credential c ON c.id = n.credential_id AND c.generation = n.generation
WHERE c.enabled AND (c.dead_at IS NULL OR %(upkeep)s) AND (c.disabled_till IS NULL OR c.disabled_till <= clock_timestamp())

-- name: others
-- Some credentials that are sealed with the same key: where it is the right one, it opens them.
-- Parameters: key (text), id (bigint: the credential that it did not open).
-- No row: there is no other.
SELECT id, source, secret FROM credential WHERE key_id = %(key)s AND id <> %(id)s ORDER BY id DESC LIMIT 5
