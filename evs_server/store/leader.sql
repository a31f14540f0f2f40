-- What the process that leads, and those that would, say to the database, by name. The lock belongs to the session that
-- takes it, and goes with it.

-- name: take_lead
SELECT pg_try_advisory_lock(hashtextextended('evs.leader', 0));

-- Whoever holds the lock, by the name that its session has given itself; no row if nobody does.
-- name: leader
SELECT coalesce(activity.application_name, '')
FROM pg_locks AS held LEFT JOIN pg_stat_activity AS activity USING (pid)
WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
  AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (held.classid::bigint << 32) | held.objid::bigint = hashtextextended('evs.leader', 0);

-- Ends flushes that are under way. Whoever led before may be asleep in the midst of one, and its lock on the one row would
-- keep the next start waiting for as long as the server bears with it. What is not committed is tried again, and refused.
-- name: end_flushes
SELECT count(pg_terminate_backend(held.pid))
FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
WHERE held.locktype = 'relation' AND held.granted AND held.mode IN ('RowShareLock', 'RowExclusiveLock')
  AND held.relation = to_regclass('evs.engine') AND held.pid <> pg_backend_pid()
  AND activity.application_name = 'evs' AND activity.usename = current_user;

-- Anything that is said keeps a session from being ended as idle.
-- name: heartbeat
SELECT true;

-- name: newest_start
SELECT start_number FROM evs.engine WHERE shard = -1;
