-- fragment: columns
h.id, h.platform, h.kind, h.key, h.account_id, h.owner, h.source, h.operation, h.parser_version, h.fields, h.reasons, h.score, h.state, h.held_at,
h.next_at, h.asks, h.why, h.decided_at, h.decided_by, h.observed_at, h.request_id, h.said->'values' AS says,
(SELECT coalesce(jsonb_object_agg(g.key, g.value->0), '{}') FROM jsonb_each(h.good) g) AS known,
(SELECT coalesce(jsonb_agg(jsonb_build_object('source', w->'source', 'says', w->'values')), '[]') FROM jsonb_array_elements(h.witnesses) w) AS witnesses

-- name: list
-- Held records, those that wait for a person first, then the oldest.
-- Parameters: state (text or null: any that is not decided), platform (text or null), limit (integer).
-- Rows: `HeldView`.
-- Locks: none.
-- No row: none is held.
SELECT {{columns}} FROM held_record h
WHERE (h.state = %(state)s::text OR (%(state)s::text IS NULL AND h.decided_at IS NULL)) AND (%(platform)s::text IS NULL OR h.platform = %(platform)s)
ORDER BY h.state <> 'person', h.id LIMIT %(limit)s

-- name: one
-- A held record.
-- Parameters: id (bigint).
-- Rows: `HeldView`.
-- Locks: none.
-- No row: there is none with this id.
SELECT {{columns}} FROM held_record h WHERE h.id = %(id)s
