-- What the migration runner itself says to the database, by name; the migrations are the files in migrations/.

-- name: limit
SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true);

-- name: take_turn
SELECT pg_advisory_xact_lock(hashtextextended('evs.migration', 0));

-- The two creations are asked for only where something is missing: even with IF NOT EXISTS they need the right to create,
-- which a role that was given a finished schema lacks.

-- name: look
SELECT to_regnamespace('evs') IS NOT NULL AS has_schema, to_regclass('evs.migration') IS NOT NULL AS has_log;

-- name: look_for_exchange
SELECT current_database() AS database, current_schema() AS schema,
       array(SELECT name FROM unnest(ARRAY['accounts', 'positions', 'trades']) AS name WHERE to_regclass(name) IS NULL)
           AS missing;

-- name: create_schema
CREATE SCHEMA evs;

-- name: create_log
CREATE TABLE evs.migration (
    name       TEXT PRIMARY KEY,
    checksum   TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);

-- name: applied
SELECT name, checksum FROM evs.migration;

-- name: record
INSERT INTO evs.migration (name, checksum) VALUES ($1, $2);
