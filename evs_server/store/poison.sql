-- Statements of the search for rows that the database refuses.

-- name: set_aside
INSERT INTO evs.set_aside (shard, flush_number, target, row, sqlstate, message) VALUES ($1, $2, $3, $4::jsonb, $5, $6);

-- The snapshot of a row set aside: reads overlay it by version with the newer rows of its account, if there are any.
-- name: keep_latest
INSERT INTO evs.latest AS kept
       (shard, account_id, version, tick, timestamp_ms, equity_cents, cash_cents, position_value_cents, day_change_cents,
        day_change_percent_e4, unrealized_cents, realized_cents, net_flow_cents, flags)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
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

-- name: read_set_aside
SELECT target, row::text AS row, sqlstate, message FROM evs.set_aside WHERE shard = $1 AND flush_number = $2 ORDER BY id;
