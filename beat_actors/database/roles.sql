-- name: has_database
-- Whether the server has a database.
-- Parameters: name (text).
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = %(name)s) AS has

-- name: has_role
-- Whether the server has a role.
-- Parameters: name (text).
-- Rows: one.
-- Locks: none.
-- No row: never.
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %(name)s) AS has

-- name: predefined
-- The groups of a role that PostgreSQL brought with it, or that may do what the role must not. Other groups are the site's: a superuser may
-- have put the role into them.
-- Parameters: name (text) of the role.
-- Rows: the groups' names.
-- Locks: none.
-- No row: the role is in none.
SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = %(name)s AND (g.rolname ~ '^pg_' OR g.rolsuper OR g.rolcreatedb OR g.rolcreaterole OR g.rolreplication)

-- name: foreign
-- What stands in the schema and belongs to another role than the owner. Sequences of a column, indexes and row types follow their table; what
-- an extension brought stays with it.
-- Parameters: owner (text).
-- Rows: the statements that give it to the owner, in any order.
-- Locks: none.
-- No row: all of it is the owner's.
WITH own AS (SELECT oid FROM pg_roles WHERE rolname = %(owner)s), brought AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
SELECT format('ALTER %%s %%s OWNER TO %%I', kind, name, %(owner)s::text) AS statement FROM (
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind,
           c.oid::regclass::text AS name, 'pg_class'::regclass AS class, c.oid AS id, c.relowner AS held
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'S'
                      AND d.deptype IN ('a', 'i'))
    UNION ALL
    SELECT 'ROUTINE', p.oid::regprocedure::text, 'pg_proc'::regclass, p.oid, p.proowner
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'TYPE', t.oid::regtype::text, 'pg_type'::regclass, t.oid, t.typowner
    FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd', 'r')
) o
WHERE held <> (SELECT oid FROM own) AND NOT EXISTS (SELECT FROM brought b WHERE b.classid = o.class AND b.objid = o.id)

-- name: grants
-- What a process login needs of all that the current role owns in the schema. An extension's view is not ours to grant.
-- Parameters: role (text): the login.
-- Rows: the statements that grant and revoke it, in any order.
-- Locks: none.
-- No row: never.
WITH relation AS (
    SELECT oid::regclass::text AS name, relkind = 'S' AS sequence,
           CASE relname WHEN 'alembic_version' THEN 'SELECT' WHEN 'schema_compatibility' THEN 'SELECT' WHEN 'tombstone_key' THEN 'SELECT' WHEN 'audit_log' THEN 'SELECT, INSERT'
                        ELSE 'SELECT, INSERT, UPDATE, DELETE' END AS rights,
           CASE relname WHEN 'alembic_version' THEN 'INSERT, UPDATE, DELETE' WHEN 'schema_compatibility' THEN 'INSERT, UPDATE, DELETE' WHEN 'tombstone_key' THEN 'INSERT, UPDATE, DELETE' WHEN 'audit_log' THEN 'UPDATE, DELETE' END AS withheld
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
      AND relowner = current_user::regrole
), routine AS (
    SELECT oid::regprocedure::text AS name FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
), given (statement) AS (
    SELECT format('GRANT USAGE ON SCHEMA public TO %%I', %(role)s::text)
    UNION ALL SELECT format('REVOKE %%s ON %%s FROM %%I', withheld, name, %(role)s::text) FROM relation WHERE withheld IS NOT NULL
    UNION ALL SELECT format('GRANT %%s ON %%s TO %%I', rights, string_agg(name, ', '), %(role)s::text)
        FROM relation WHERE NOT sequence GROUP BY rights
    UNION ALL SELECT format('GRANT USAGE, SELECT ON SEQUENCE %%s TO %%I', string_agg(name, ', '), %(role)s::text)
        FROM relation WHERE sequence
    UNION ALL SELECT format('REVOKE ALL ON ROUTINE %%s FROM PUBLIC', string_agg(name, ', ')) FROM routine
    UNION ALL SELECT format('GRANT EXECUTE ON ROUTINE %%s TO %%I', string_agg(name, ', '), %(role)s::text) FROM routine
    UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %%I', %(role)s::text)
    UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO %%I', %(role)s::text)
    UNION ALL SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON ROUTINES TO %%I', %(role)s::text)
    UNION ALL SELECT 'ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC'
)
SELECT statement FROM given WHERE statement IS NOT NULL

-- name: close_schema
-- Lets nobody else use the schema. In a database that PostgreSQL 14 or older made, everybody may create tables in it.
-- Locks: the schema's entry in the catalog.
REVOKE ALL ON SCHEMA public FROM PUBLIC
