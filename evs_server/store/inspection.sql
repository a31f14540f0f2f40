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
