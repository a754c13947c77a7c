"""Which account may use which owner, and for whom each thing that is known was observed.

Each entity has a row for every account that had it observed and, apart from the public one, for every owner whose credential observed
it. A reader's rows are chosen by equality, so nothing that one account does changes what another account reads.

Workers of the release before this one cannot write entities under the new keys: stop them, migrate, start the new ones. Work that they
held is leased again. An account that had a public entity observed before, and was not the last to do so, reads it again after its next
request for it.

Revision ID: 0029
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

# The tables that hold a platform's entities, whichever platforms there are: current state has no fetch_id, the logs have.
ENTITIES = """
SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.column_name IN ('observed_at', 'parser_version', 'fetch_id')
GROUP BY 1 HAVING array_agg(c.column_name::text ORDER BY c.column_name::text) = ARRAY['observed_at', 'parser_version']
"""
# Of what was observed before, the request says for which account and, by the flow that it asked for, whose credential observed it.
# `OF_OWNER` is what the platforms of the release before this one declare.
OF_OWNER = """CASE WHEN r.platform = 'shopify' THEN r.params->>'store'
    WHEN r.platform = 'instagram' AND r.flow ~ '^refresh_(own_|profile_insights|post_insights)' THEN r.params->>'user_id' END"""


def upgrade() -> None:
    op.execute("""
    CREATE TABLE owner_grant (
        account_id text NOT NULL,
        platform   text NOT NULL,
        owner      text NOT NULL,
        granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        granted_by text NOT NULL,
        PRIMARY KEY (account_id, platform, owner)
    );
    CREATE INDEX owner_grant_owner ON owner_grant (platform, owner, account_id);

    -- Whether a request may use the owner's credential: the installation's own requests may, an account's while it holds the grant.
    CREATE FUNCTION beat_may_use_owner(request bigint, platform text, owner text) RETURNS boolean LANGUAGE sql STABLE
    SET search_path FROM CURRENT AS $$
        SELECT NOT EXISTS (
            SELECT FROM scrape_request_log r WHERE r.id = $1 AND r.account_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM owner_grant g WHERE g.account_id = r.account_id AND g.platform = $2 AND g.owner = $3))
    $$;

    -- A credential that belongs to an owner serves others' calls too, where it was added for nobody or shared on purpose.
    ALTER TABLE credential ADD COLUMN shared boolean NOT NULL DEFAULT true;
    """)
    op.execute(f"""
    DO $$ DECLARE entity text; key text; constraint_name text; BEGIN
        FOR entity IN {ENTITIES} LOOP
            EXECUTE format('ALTER TABLE %I ADD COLUMN account_id text NOT NULL DEFAULT '''', ADD COLUMN owner text NOT NULL DEFAULT ''''', entity);
            EXECUTE format($q$UPDATE %I e SET account_id = coalesce(r.account_id, ''), owner = coalesce({OF_OWNER}, '')
                FROM scrape_request_log r WHERE r.id = e.request_id$q$, entity);
            SELECT c.conname, a.attname INTO constraint_name, key FROM pg_constraint c
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            WHERE c.conrelid = format('%I', entity)::regclass AND c.contype = 'p';
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I, ADD CONSTRAINT %I PRIMARY KEY (%I, account_id, owner)',
                           entity, constraint_name, constraint_name, key);
        END LOOP;
    END $$;
    """)  # noqa: S608 - put together from constants
    for log in ("profile_log", "post_log"):
        op.execute(f"""
        ALTER TABLE {log} ADD COLUMN account_id text NOT NULL DEFAULT '', ADD COLUMN owner text NOT NULL DEFAULT '';
        UPDATE {log} l SET account_id = coalesce(r.account_id, ''), owner = coalesce({OF_OWNER}, '')
        FROM scrape_request_log r WHERE r.id = l.request_id AND (r.account_id IS NOT NULL OR {OF_OWNER} IS NOT NULL);
        """)  # noqa: S608 - put together from constants
    op.execute(f"""
    UPDATE change_log c SET account_id = coalesce(r.account_id, '') FROM scrape_request_log r WHERE r.id = c.request_id;
    UPDATE change_log SET account_id = '' WHERE account_id IS NULL;
    ALTER TABLE change_log ALTER COLUMN account_id SET DEFAULT '', ALTER COLUMN account_id SET NOT NULL,
        ADD COLUMN owner text NOT NULL DEFAULT '';
    UPDATE change_log c SET owner = {OF_OWNER} FROM scrape_request_log r WHERE r.id = c.request_id AND {OF_OWNER} IS NOT NULL;
    CREATE INDEX change_log_account ON change_log (account_id, xid, id);

    ALTER TABLE asset_log ADD COLUMN owner text NOT NULL DEFAULT '', DROP CONSTRAINT asset_log_pkey,
        ADD CONSTRAINT asset_log_pkey PRIMARY KEY (platform, entity, entity_key, field, owner);

    -- From where an account's listings go on is part of what it knows of the store.
    UPDATE shopify_store s SET orders_synced_to = m.at FROM account_mark m
    WHERE m.account_id = s.account_id AND m.field = 'orders_synced_to' AND m.key = s.store;
    UPDATE shopify_store s SET products_synced_to = m.at FROM account_mark m
    WHERE m.account_id = s.account_id AND m.field = 'products_synced_to' AND m.key = s.store;
    UPDATE shopify_store s SET customers_synced_to = m.at FROM account_mark m
    WHERE m.account_id = s.account_id AND m.field = 'customers_synced_to' AND m.key = s.store;
    DROP TABLE account_mark, account_seen;
    """)  # noqa: S608 - put together from constants


def downgrade() -> None:
    op.execute(f"""
    CREATE TABLE account_seen (
        account_id text NOT NULL,
        platform   text NOT NULL,
        kind       text NOT NULL,
        key        text NOT NULL,
        PRIMARY KEY (account_id, platform, kind, key)
    );
    CREATE TABLE account_mark (
        account_id text NOT NULL,
        platform   text NOT NULL,
        field      text NOT NULL,
        key        text NOT NULL,
        at         timestamptz NOT NULL,
        PRIMARY KEY (account_id, platform, field, key)
    ) WITH (fillfactor = 80);
    ALTER TABLE asset_log DROP CONSTRAINT asset_log_pkey;
    DELETE FROM asset_log a USING asset_log b WHERE a.id > b.id
        AND (a.platform, a.entity, a.entity_key, a.field) = (b.platform, b.entity, b.entity_key, b.field);
    ALTER TABLE asset_log DROP COLUMN owner, ADD CONSTRAINT asset_log_pkey PRIMARY KEY (platform, entity, entity_key, field);
    DROP INDEX change_log_account;
    ALTER TABLE change_log DROP COLUMN owner, ALTER COLUMN account_id DROP NOT NULL, ALTER COLUMN account_id DROP DEFAULT;
    UPDATE change_log SET account_id = NULL;
    ALTER TABLE profile_log DROP COLUMN account_id, DROP COLUMN owner;
    ALTER TABLE post_log DROP COLUMN account_id, DROP COLUMN owner;
    DO $$ DECLARE entity text; key text; constraint_name text; BEGIN
        FOR entity IN {ENTITIES} LOOP
            SELECT c.conname, a.attname INTO constraint_name, key FROM pg_constraint c
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            WHERE c.conrelid = format('%I', entity)::regclass AND c.contype = 'p';
            EXECUTE format('DELETE FROM %I a USING %I b WHERE a.%I = b.%I AND (a.observed_at, a.account_id, a.owner) < (b.observed_at, b.account_id, b.owner)',
                           entity, entity, key, key);
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I, DROP COLUMN account_id, DROP COLUMN owner, ADD CONSTRAINT %I PRIMARY KEY (%I)',
                           entity, constraint_name, constraint_name, key);
        END LOOP;
    END $$;
    ALTER TABLE credential DROP COLUMN shared;
    DROP FUNCTION beat_may_use_owner(bigint, text, text);
    DROP TABLE owner_grant;
    """)  # noqa: S608 - put together from constants
