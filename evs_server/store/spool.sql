-- Which database this is, and how far whoever wrote last has come.

-- name: read_lineage
SELECT engine.database_id || '/' || database.oid AS database_id, engine.committed_start_number
FROM evs.engine CROSS JOIN pg_catalog.pg_database AS database
WHERE database.datname = current_database() AND engine.shard = -1;
