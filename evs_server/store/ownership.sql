-- What a worker says to the database about who owns which virtual shard, by name. Locks belong to the session that takes
-- them, and go with it: who holds one lives.

-- Shared by all workers that take part; `evs adopt` asks for it alone.
-- name: take_part
SELECT pg_try_advisory_lock_shared(hashtextextended('evs.worker', 0));

-- name: stand_aside
SELECT pg_advisory_unlock_shared(hashtextextended('evs.worker', 0));

-- name: take
SELECT pg_try_advisory_lock(hashtext('evs.shard'), $1);

-- name: release
SELECT pg_advisory_unlock(hashtext('evs.shard'), $1);

-- name: workers
SELECT coalesce(activity.application_name, '') AS name
FROM pg_locks AS held LEFT JOIN pg_stat_activity AS activity USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1 AND held.mode = 'ShareLock'
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (held.classid::bigint << 32) | held.objid::bigint = hashtextextended('evs.worker', 0)
ORDER BY 1;

-- name: owners
SELECT held.objid::integer AS shard, coalesce(activity.application_name, '') AS name
FROM pg_locks AS held LEFT JOIN pg_stat_activity AS activity USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 2
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND held.classid = hashtext('evs.shard')::oid
ORDER BY 1;

-- Anything that is said keeps a session from being ended as idle.
-- name: heartbeat
SELECT true;

-- name: newest_start
SELECT start_number FROM evs.engine WHERE shard = $1;
