-- fragment: same_asset
(k.platform, k.entity, k.entity_key, k.field, k.owner) = (m.platform, m.entity, m.entity_key, m.field, m.owner)

-- fragment: gain
-- By how much longer the URL that was observed works.
(CASE WHEN m.expires_at IS NOT NULL AND k.expires_at IS NOT NULL THEN m.expires_at - k.expires_at
      WHEN k.status <> 'GONE' THEN m.observed_at - k.observed_at END)

-- fragment: worth_it
-- Whether an existing row is written.
(k.id IS NOT NULL AND (k.class IS NULL
    OR k.identity IS DISTINCT FROM m.identity AND m.observed_at >= coalesce(k.observed_at, '-infinity')
    OR k.identity = m.identity AND k.url <> m.url AND CASE WHEN k.status IN ('REFETCH', 'EXPIRED', 'GONE') THEN {{gain}} > interval '0'
        -- What waits is only written again where that is worth a write.
        WHEN k.status IN ('PENDING', 'WAITING', 'PROCESSING') THEN {{gain}} >= interval '1 hour'
            OR {{gain}} > interval '0' AND k.deadline < m.observed_at + interval '1 hour' END))

-- name: observe
-- Writes observed media URLs as assets. A new asset is PENDING. Of a known one:
-- Another picture (`identity`) makes it PENDING with the new URL; `content` stays. If it is the picture of `content`, it is COMPLETE.
-- A URL of the same picture that works for longer takes the place of one that waits, if that is an hour or more or the old one dies within an hour. A
-- URL that works for longer makes REFETCH and EXPIRED PENDING again, and so it does with GONE if both URLs say when they die: a
-- GONE asset whose URLs do not say that needs another picture. Of COMPLETE and FAILED assets nothing is written. An asset that is being uploaded gets the new URL and picture and stays PROCESSING: the commit of that
-- upload compares them with those of its claim (`assets/commits`), and a different picture is claimed again. Subjects in `asset_denied` are left out,
-- and what is listed under them.
-- Parameters: media (json): an array of objects, one for each asset, with the fields that `m` names; `identity` in base64.
-- Locks: the new rows in the order of their primary key, then those that change in the order of `public_id`, as commits of uploads do. One call in a
-- transaction, after its rows of entities.
-- No row: it gives none.
WITH m AS MATERIALIZED (
    SELECT platform, entity, entity_key, field, owner, account_id, url, asset_class AS class, decode(identity, 'base64') AS identity, observed_at,
        expires_at, deadline, parent_kind, parent_key
    FROM json_to_recordset(%(media)s::json) AS m(platform text, entity text, entity_key text, field text, owner text, account_id text, url text,
        asset_class smallint, identity text, observed_at timestamptz, expires_at timestamptz, deadline timestamptz, parent_kind text, parent_key text)
    -- No hash is computed as long as nothing is denied.
    WHERE NOT EXISTS (SELECT FROM asset_denied) OR NOT EXISTS (SELECT FROM asset_denied d WHERE d.subject IN (
        sha256(convert_to(m.platform, 'UTF8') || '\x00'::bytea || convert_to(m.entity, 'UTF8') || '\x00'::bytea || convert_to(m.entity_key, 'UTF8')),
        sha256(convert_to(m.platform, 'UTF8') || '\x00'::bytea || convert_to(m.parent_kind, 'UTF8') || '\x00'::bytea || convert_to(m.parent_key, 'UTF8'))))
), known AS MATERIALIZED (
    SELECT m.*, k.id IS NULL AS is_new, {{worth_it}} AS worth_it FROM m LEFT JOIN asset_log k ON {{same_asset}}
), changed AS MATERIALIZED (
    SELECT m.*, k.status = 'PROCESSING' AND k.class IS NOT NULL AS held, k.identity IS DISTINCT FROM m.identity AS other
    FROM known m JOIN asset_log k ON {{same_asset}}
    -- Asked again under the lock.
    WHERE m.worth_it AND {{worth_it}}
    ORDER BY k.public_id, k.id FOR NO KEY UPDATE OF k
), fresher AS (
    UPDATE asset_log k SET url = m.url, identity = m.identity, class = m.class, observed_at = greatest(m.observed_at, k.observed_at),
        expires_at = m.expires_at, deadline = m.deadline, parent_kind = m.parent_kind, parent_key = m.parent_key,
        account_id = CASE WHEN k.class IS NULL THEN m.account_id ELSE k.account_id END, public_id = coalesce(k.public_id, gen_random_uuid()),
        status = CASE WHEN m.held THEN k.status WHEN k.content_identity = m.identity THEN 'COMPLETE'
                      WHEN NOT m.other AND k.status = 'WAITING' THEN k.status ELSE 'PENDING' END,
        wanted_at = CASE WHEN m.held OR k.content_identity IS DISTINCT FROM m.identity THEN k.wanted_at END,
        failure = CASE WHEN m.held OR NOT m.other AND k.status = 'WAITING' THEN k.failure END,
        not_before = CASE WHEN NOT m.other AND k.status = 'WAITING' THEN k.not_before END,
        attempts = CASE WHEN m.held OR NOT m.other AND k.status IN ('PENDING', 'WAITING') THEN k.attempts ELSE 0 END,
        rescues = CASE WHEN m.held OR NOT m.other AND k.status IN ('PENDING', 'WAITING') THEN k.rescues ELSE 0 END
    FROM changed m WHERE {{same_asset}}
)
INSERT INTO asset_log (platform, entity, entity_key, field, owner, account_id, url, class, identity, observed_at, expires_at, deadline, parent_kind, parent_key)
SELECT platform, entity, entity_key, field, owner, account_id, url, class, identity, observed_at, expires_at, deadline, parent_kind, parent_key
FROM known WHERE is_new ORDER BY platform, entity, entity_key, field, owner ON CONFLICT DO NOTHING
