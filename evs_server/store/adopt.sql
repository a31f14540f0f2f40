-- What splits the state of the whole exchange into slices, by name; all of it in one transaction. The numbers are those of
-- cluster/shards.py: -1 the whole, 0 to 63 the virtual shards, 64 the keeper.

-- name: take_lead
SELECT pg_try_advisory_lock(hashtextextended('evs.leader', 0));

-- Alone: no worker holds it, and none can join.
-- name: exclude_workers
SELECT pg_try_advisory_xact_lock(hashtextextended('evs.worker', 0));

-- name: lock_slices
SELECT shard, flush_number FROM evs.engine ORDER BY shard FOR UPDATE;

-- Rows newer than the checkpoint become part of it, so that each slice begins with a whole one.
-- name: complete_checkpoint
INSERT INTO evs.latest AS kept
       (account_id, version, tick, timestamp_ms, equity_cents, cash_cents, position_value_cents, day_change_cents,
        day_change_percent_e4, unrealized_cents, realized_cents, net_flow_cents, flags)
SELECT DISTINCT ON (account_id)
       account_id, version, tick, (extract(epoch FROM timestamp) * 1000)::bigint, total_equity, cash_balance,
       position_value, day_change, (day_change_percent * 10000)::bigint, unrealized_pnl, realized_pnl, net_flow, flags
FROM equity_timeseries
WHERE version > (SELECT latest_version FROM evs.engine WHERE shard = -1)
ORDER BY account_id, version DESC
ON CONFLICT (account_id) DO UPDATE SET
    version = excluded.version,
    tick = excluded.tick,
    timestamp_ms = excluded.timestamp_ms,
    equity_cents = excluded.equity_cents,
    cash_cents = excluded.cash_cents,
    position_value_cents = excluded.position_value_cents,
    day_change_cents = excluded.day_change_cents,
    day_change_percent_e4 = excluded.day_change_percent_e4,
    unrealized_cents = excluded.unrealized_cents,
    realized_cents = excluded.realized_cents,
    net_flow_cents = excluded.net_flow_cents,
    flags = excluded.flags
WHERE kept.version < excluded.version;

-- What belongs to an account goes where the account goes, slice by slice: a start then reads pages that are its own.
-- name: spread_accounts
DO $$
DECLARE
    relation REGCLASS;
    columns  TEXT;
BEGIN
    FOREACH relation IN ARRAY ARRAY[
        'evs.account', 'evs.position', 'evs.latest', 'evs.unannounced', 'evs.newcomer', 'evs.parked'
    ]::regclass[] LOOP
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
        FROM pg_attribute
        WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND attname <> 'shard';
        EXECUTE format(
            'WITH moved AS (DELETE FROM %1$s WHERE shard = -1 RETURNING *)
             INSERT INTO %1$s (%2$s, shard)
             SELECT %2$s, evs.shard_of(account_id) FROM moved ORDER BY evs.shard_of(account_id), account_id',
            relation, columns
        );
        EXECUTE format('ANALYZE %s', relation);
    END LOOP;
END
$$;

-- In the order they had, numbered without a gap in each slice.
-- name: spread_settlements
WITH moved AS (DELETE FROM evs.settlement WHERE shard = -1 RETURNING *)
INSERT INTO evs.settlement (shard, ordinal, account_id, side, settlement_id)
SELECT evs.shard_of(account_id), row_number() OVER (PARTITION BY evs.shard_of(account_id) ORDER BY ordinal),
       account_id, side, settlement_id
FROM moved;

-- name: copy_marks
WITH moved AS (DELETE FROM evs.mark WHERE shard = -1 RETURNING *)
INSERT INTO evs.mark (shard, symbol_id, price_cents, source, mark_time_ms, valued_price_cents, valued_source,
                      valued_time_ms, changed)
SELECT number, symbol_id, price_cents, source, mark_time_ms, valued_price_cents, valued_source, valued_time_ms, changed
FROM moved CROSS JOIN generate_series(0, 63) AS number;

-- name: hand_over_sources
UPDATE evs.source SET shard = 64 WHERE shard = -1;

-- name: hand_over_digests
UPDATE evs.digest SET shard = 64 WHERE shard = -1;

-- All at one place in the log, whose events come after all that is here: $1 is what it is called, $2 where it ends now.
-- name: place_in_log
INSERT INTO evs.source (shard, source, epoch, applied_sequence) SELECT number, $1, 1, $2 FROM generate_series(0, 64) AS number;

-- The events counted so far are the keeper's, whose are the senders.
-- name: make_slices
INSERT INTO evs.engine (shard, flush_number, start_number, version, tick, session_start_ms, latest_version,
                        settlement_count, event_count, committed_at, database_id, committed_start_number, tick_time_ms)
SELECT number, flush_number, start_number, version, tick, session_start_ms, version,
       (SELECT count(*) FROM evs.settlement WHERE settlement.shard = number),
       CASE WHEN number = 64 THEN event_count ELSE 0 END, committed_at, database_id, start_number, tick_time_ms
FROM evs.engine CROSS JOIN generate_series(0, 64) AS number
WHERE engine.shard = -1
ON CONFLICT (shard) DO UPDATE SET
    flush_number = excluded.flush_number,
    start_number = greatest(engine.start_number, excluded.start_number),
    version = excluded.version,
    tick = excluded.tick,
    session_start_ms = excluded.session_start_ms,
    latest_version = excluded.latest_version,
    settlement_count = excluded.settlement_count,
    event_count = excluded.event_count,
    committed_at = excluded.committed_at,
    committed_start_number = excluded.committed_start_number,
    tick_time_ms = excluded.tick_time_ms;

-- A process that sleeps through all this, and a spool that it left behind, write no more.
-- name: empty_whole
UPDATE evs.engine SET flush_number = 0, settlement_count = 0, event_count = 0, rows_since = NULL,
                      start_number = start_number + 1, committed_start_number = start_number + 1
WHERE shard = -1;

-- name: count_accounts
SELECT count(*) FROM evs.account WHERE shard >= 0;
