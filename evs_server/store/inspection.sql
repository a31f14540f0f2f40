-- What `evs doctor` asks of a database; each statement reads only.

-- name: server
SELECT current_setting('server_version_num')::integer AS number, current_setting('server_version') AS version;

-- name: engine
SELECT start_number, event_count, extract(epoch FROM now() - committed_at)::bigint AS idle_seconds FROM evs.engine;

-- name: sources
SELECT source, applied_sequence FROM evs.source ORDER BY source;
