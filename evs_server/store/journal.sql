-- What a gateway reads of the slices. $1 is what the position in the log is called among the sources.

-- name: claim_log
UPDATE evs.log SET log_id = coalesce(log_id, $1) RETURNING log_id;

-- name: read_positions
SELECT engine.shard, coalesce(source.applied_sequence, 0) AS position
FROM evs.engine AS engine LEFT JOIN evs.source AS source ON source.shard = engine.shard AND source.source = $1
WHERE engine.shard >= 0 AND engine.flush_number > 0;
