-- What `evs doctor` asks of a database; each statement reads only.

-- name: server
SELECT current_setting('server_version_num')::integer AS number, current_setting('server_version') AS version;

-- name: engine
SELECT max(start_number) AS start_number, sum(event_count)::bigint AS event_count,
       extract(epoch FROM now() - max(committed_at))::bigint AS idle_seconds
FROM evs.engine;

-- Those of senders: kept with the whole exchange, or by the keeper. Shards keep how far they are in the log.
-- name: sources
SELECT source, applied_sequence FROM evs.source WHERE shard IN (-1, 64) ORDER BY source;

-- As `spool.sql` has it; no row where the whole exchange is nobody's: before the first import, and where shards share it.
-- name: database_id
SELECT engine.database_id || '/' || database.oid
FROM evs.engine CROSS JOIN pg_catalog.pg_database AS database
WHERE database.datname = current_database() AND engine.shard = -1 AND engine.flush_number > 0;
