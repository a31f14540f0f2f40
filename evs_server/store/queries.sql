-- Every statement of the store, by name. $1 and on are parameters. Reads of the exchange's tables name the columns they
-- need and cast them, since the real ones have other widths.

-- The default search path begins with the role's own name: for a role called evs our schema would hide the exchange's.
-- name: look_past_our_schema
SELECT set_config('search_path', coalesce(string_agg(quote_ident(name), ', ' ORDER BY place), ''), false)
FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)
WHERE name <> 'evs';

-- name: limit_statement
SELECT set_config('statement_timeout', $1, true);


-- Recovery -----------------------------------------------------------------------------------------------------------

-- Whose slice is $1 or $2; -1 is the whole exchange, 0 and on are virtual shards.

-- Always by number, so that nobody waits for somebody who waits for him. The row of the whole is there even if nobody uses it.
-- name: lock_starts
SELECT shard, flush_number FROM evs.engine WHERE shard = -1 OR shard = $1 OR $1 = -1 ORDER BY shard FOR UPDATE;

-- name: add_slice
INSERT INTO evs.engine (shard, database_id) SELECT $1, database_id FROM evs.engine WHERE shard = -1
ON CONFLICT DO NOTHING;

-- name: take_start
UPDATE evs.engine SET start_number = start_number + 1 WHERE shard = $1 RETURNING start_number;

-- Whoever began on the other side, and has written nothing yet, never will.
-- name: fence_other_side
UPDATE evs.engine SET start_number = start_number + 1
WHERE start_number > 0 AND flush_number = 0 AND (shard = -1) <> ($1 = -1);

-- name: read_engine
SELECT shard, flush_number, start_number, version, tick, session_start_ms, tick_time_ms, latest_version, rows_since
FROM evs.engine
WHERE shard = $1;

-- name: read_accounts
SELECT account_id, cash_cents, net_flow_cents, realized_cents, base_equity_cents, base_net_flow_cents, has_base, dirty
FROM evs.account
WHERE shard = $1;

-- name: read_positions
SELECT account_id, symbol_id, quantity_bp, basis_cents, realized_cents,
       valued_quantity_bp, valued_basis_cents, valued_realized_cents, updated_ms, listed
FROM evs.position
WHERE shard = $1;

-- name: read_marks
SELECT symbol_id, price_cents, source, mark_time_ms, valued_price_cents, valued_source, valued_time_ms, changed
FROM evs.mark
WHERE shard = $1;

-- name: read_latest
SELECT account_id, version, tick, timestamp_ms, equity_cents, cash_cents, position_value_cents, day_change_cents,
       day_change_percent_e4, unrealized_cents, realized_cents, net_flow_cents, flags
FROM evs.latest
WHERE shard = $1;

-- The newest row of each account since the checkpoint; the index on version leads past all older ones.
-- name: read_newest_rows
SELECT DISTINCT ON (account_id)
       account_id, version, tick, (extract(epoch FROM timestamp) * 1000)::bigint, total_equity, cash_balance,
       position_value, day_change, (day_change_percent * 10000)::bigint, unrealized_pnl, realized_pnl, net_flow, flags
FROM equity_timeseries
WHERE version > $1
ORDER BY account_id, version DESC;

-- name: count_newest_rows
SELECT count(*) FROM equity_timeseries WHERE version > $1;

-- The same of one slice. Versions of others do not compare with its own, so it goes by account, along the key, from the
-- time on that no newer row is before.
-- name: read_newest_rows_of_slice
SELECT newest.*
FROM evs.account AS account
CROSS JOIN LATERAL (
    SELECT account_id, version, tick, (extract(epoch FROM timestamp) * 1000)::bigint, total_equity, cash_balance,
           position_value, day_change, (day_change_percent * 10000)::bigint, unrealized_pnl, realized_pnl, net_flow, flags
    FROM equity_timeseries
    WHERE account_id = account.account_id AND timestamp >= $3 AND version > $2
    ORDER BY version DESC LIMIT 1
) AS newest
WHERE account.shard = $1;

-- name: count_newest_rows_of_slice
SELECT count(*)
FROM evs.account AS account JOIN equity_timeseries AS stored USING (account_id)
WHERE account.shard = $1 AND stored.timestamp >= $3 AND stored.version > $2;

-- name: read_sources
SELECT source, epoch, applied_sequence FROM evs.source WHERE shard = $1 ORDER BY source;

-- name: read_digests
SELECT source, digest.first_sequence, digest.last_sequence, digest.digests
FROM evs.digest JOIN evs.source USING (shard, source, epoch)
WHERE shard = $1
ORDER BY source, digest.last_sequence;

-- name: read_settlements
SELECT ordinal, account_id, side, settlement_id FROM evs.settlement WHERE shard = $1 ORDER BY ordinal;

-- name: read_unannounced
SELECT account_id, trade_id, symbol_id, side, quantity_bp, price_cents FROM evs.unannounced WHERE shard = $1;

-- name: read_parked
SELECT parked_id, account_id, kind, symbol_id, side, quantity_bp, price_cents, fee_cents, settlement_id, amount_cents
FROM evs.parked
WHERE shard = $1;

-- name: read_newcomers
SELECT account_id, funding_cents, until_ms FROM evs.newcomer WHERE shard = $1;


-- The exchange's tables ----------------------------------------------------------------------------------------------

-- A slice is imported with its accounts and every symbol's price.

-- name: import_accounts
SELECT id::bigint, coalesce(currency_balance, 0)::bigint
FROM accounts
WHERE id BETWEEN 1 AND 9007199254740991 AND ($1 = -1 OR evs.shard_of(id::bigint) = $1)
ORDER BY id;

-- name: import_positions
SELECT account_id::bigint, symbol_id::bigint, quantity::bigint, greatest(avg_cost, 0)::bigint
FROM positions
WHERE quantity <> 0 AND account_id BETWEEN 1 AND 9007199254740991 AND symbol_id BETWEEN 0 AND 4294967295
    AND ($1 = -1 OR evs.shard_of(account_id::bigint) = $1)
ORDER BY account_id, symbol_id;

-- name: import_prices
SELECT DISTINCT ON (symbol_id) symbol_id::bigint, price::bigint
FROM trades
WHERE price > 0 AND symbol_id BETWEEN 0 AND 4294967295
ORDER BY symbol_id, timestamp DESC NULLS LAST, id DESC;

-- name: import_recent
SELECT account_id::bigint, id::bigint
FROM trades
WHERE account_id BETWEEN 1 AND 9007199254740991 AND ($1 = -1 OR evs.shard_of(account_id::bigint) = $1)
ORDER BY id DESC
LIMIT $2;

-- name: exchange_accounts
SELECT id::bigint, coalesce(currency_balance, 0)::bigint AS cash_cents,
       coalesce((to_jsonb(accounts) ->> 'last_updated') > (to_jsonb(accounts) ->> 'created_at'), false) AS changed
FROM accounts
WHERE id = ANY($1::bigint[]);

-- name: exchange_trades
SELECT id::bigint, account_id::bigint, symbol_id::bigint, upper(side::text) AS side, quantity::bigint, price::bigint
FROM trades
WHERE account_id = ANY($1::bigint[]) AND symbol_id BETWEEN 0 AND 4294967295
ORDER BY id;


-- A flush ------------------------------------------------------------------------------------------------------------

-- Rows to merge are copied into these first: a copy cannot say what to do with a key that exists. Their last column says
-- whose slice they are of, as that of the tables does: of the whole, where a copy leaves it out.
-- name: stage
CREATE TEMPORARY TABLE IF NOT EXISTS staged_account (LIKE evs.account INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_position (LIKE evs.position INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_mark (LIKE evs.mark INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_unannounced (LIKE evs.unannounced INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_newcomer (LIKE evs.newcomer INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_correction (
    corrected_ms BIGINT, account_id BIGINT, kind SMALLINT, requested BOOLEAN, field SMALLINT, symbol_id BIGINT,
    before BIGINT, after BIGINT
) ON COMMIT DELETE ROWS;

-- name: lock_engine
SELECT shard, flush_number, start_number, settlement_count FROM evs.engine WHERE shard = $1 FOR UPDATE;

-- name: merge_account
INSERT INTO evs.account AS kept SELECT * FROM pg_temp.staged_account
ON CONFLICT (account_id) DO UPDATE SET
    cash_cents = excluded.cash_cents,
    net_flow_cents = excluded.net_flow_cents,
    realized_cents = excluded.realized_cents,
    base_equity_cents = excluded.base_equity_cents,
    base_net_flow_cents = excluded.base_net_flow_cents,
    has_base = excluded.has_base,
    dirty = excluded.dirty;

-- By key: of 200,000 rows, whose places lie all over the table, each then takes 3.5 us to merge instead of 4.9.
-- name: merge_position
INSERT INTO evs.position AS kept SELECT * FROM pg_temp.staged_position ORDER BY account_id, symbol_id
ON CONFLICT (account_id, symbol_id) DO UPDATE SET
    quantity_bp = excluded.quantity_bp,
    basis_cents = excluded.basis_cents,
    realized_cents = excluded.realized_cents,
    valued_quantity_bp = excluded.valued_quantity_bp,
    valued_basis_cents = excluded.valued_basis_cents,
    valued_realized_cents = excluded.valued_realized_cents,
    updated_ms = excluded.updated_ms,
    listed = excluded.listed;

-- name: merge_mark
INSERT INTO evs.mark AS kept SELECT * FROM pg_temp.staged_mark
ON CONFLICT (shard, symbol_id) DO UPDATE SET
    price_cents = excluded.price_cents,
    source = excluded.source,
    mark_time_ms = excluded.mark_time_ms,
    valued_price_cents = excluded.valued_price_cents,
    valued_source = excluded.valued_source,
    valued_time_ms = excluded.valued_time_ms,
    changed = excluded.changed;

-- name: merge_unannounced
INSERT INTO evs.unannounced SELECT * FROM pg_temp.staged_unannounced
ON CONFLICT (account_id, trade_id) DO NOTHING;

-- name: remove_unannounced
DELETE FROM evs.unannounced AS kept
USING unnest($1::bigint[], $2::bigint[]) AS gone (account_id, trade_id)
WHERE kept.account_id = gone.account_id AND kept.trade_id = gone.trade_id;

-- name: merge_newcomer
INSERT INTO evs.newcomer AS kept SELECT * FROM pg_temp.staged_newcomer
ON CONFLICT (account_id) DO UPDATE SET funding_cents = excluded.funding_cents, until_ms = excluded.until_ms;

-- name: trim_newcomers
DELETE FROM evs.newcomer WHERE shard = $1 AND until_ms < $2;

-- Numbers become words here, where people read them: 1 and on as in the model's CorrectionKind and CorrectedField.
-- name: merge_correction
INSERT INTO evs.correction (corrected_at, account_id, kind, field, symbol_id, before, after, reason)
SELECT to_timestamp(corrected_ms / 1000.0), account_id,
       (ARRAY['flow', 'trades', 'recompute'])[kind],
       (ARRAY['cash', 'net_flow', 'realized', 'quantity', 'basis', 'position_realized'])[field],
       CASE WHEN field >= 4 THEN symbol_id END,
       before, after,
       (ARRAY[
           'the balance on the exchange stood unexplained',
           'rows of trades had not been announced',
           'rebuilt from all rows of trades'
       ])[kind] || CASE WHEN requested THEN '; a person asked for it' ELSE '; by the background check' END
FROM pg_temp.staged_correction;

-- name: remove_parked
DELETE FROM evs.parked WHERE shard = $1 AND parked_id = ANY($2::bigint[]);

-- name: clear_latest
DELETE FROM evs.latest WHERE shard = $1;

-- name: merge_source
INSERT INTO evs.source (shard, source, epoch, applied_sequence)
SELECT * FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (shard, source) DO UPDATE SET epoch = excluded.epoch, applied_sequence = excluded.applied_sequence;

-- name: add_digests
INSERT INTO evs.digest (shard, source, epoch, first_sequence, last_sequence, digests) VALUES ($1, $2, $3, $4, $5, $6);

-- Goes by slice, source, epoch and sequence, as the key does: older epochs, and what no longer counts of this one.
-- name: trim_digests
DELETE FROM evs.digest WHERE shard = $1 AND source = $2 AND (epoch, last_sequence) <= ($3, $4::bigint);

-- name: trim_settlements
DELETE FROM evs.settlement WHERE shard = $1 AND ordinal <= $2;

-- name: advance_engine
UPDATE evs.engine SET
    flush_number = $2,
    version = $3,
    tick = $4,
    session_start_ms = $5,
    tick_time_ms = $6,
    latest_version = coalesce($7::bigint, latest_version),
    settlement_count = $8,
    event_count = event_count + $9,
    rows_since = CASE WHEN $7::bigint IS NULL THEN least(rows_since, $10::timestamptz) ELSE $10 END,
    committed_start_number = start_number,
    committed_at = now()
WHERE shard = $1;


-- After a flush ------------------------------------------------------------------------------------------------------

-- Gives the accounts whose row someone else holds: they are tried again later, and nobody waits.
-- name: refresh_accounts
WITH wanted AS (
    SELECT theirs.id, ours.realized_cents
    FROM accounts AS theirs JOIN evs.account AS ours ON ours.account_id = theirs.id
    WHERE theirs.id = ANY($1::bigint[]) AND theirs.realized_pnl IS DISTINCT FROM ours.realized_cents
), locked AS (
    SELECT id FROM accounts WHERE id IN (SELECT id FROM wanted) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), refreshed AS (
    UPDATE accounts AS theirs SET realized_pnl = wanted.realized_cents
    FROM wanted JOIN locked USING (id)
    WHERE theirs.id = wanted.id
    RETURNING theirs.id
)
SELECT id::bigint AS account_id FROM wanted WHERE id NOT IN (SELECT id FROM refreshed);

-- name: refresh_positions
WITH wanted AS (
    SELECT theirs.id, theirs.account_id, ours.realized_cents
    FROM positions AS theirs
    JOIN evs.position AS ours ON ours.account_id = theirs.account_id AND ours.symbol_id = theirs.symbol_id
    WHERE theirs.account_id = ANY($1::bigint[]) AND theirs.realized_pnl IS DISTINCT FROM ours.realized_cents
), locked AS (
    SELECT id FROM positions WHERE id IN (SELECT id FROM wanted) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), refreshed AS (
    UPDATE positions AS theirs SET realized_pnl = wanted.realized_cents
    FROM wanted JOIN locked USING (id)
    WHERE theirs.id = wanted.id
    RETURNING theirs.id
)
SELECT DISTINCT account_id::bigint AS account_id FROM wanted WHERE id NOT IN (SELECT id FROM refreshed);

-- name: next_accounts
SELECT account_id FROM evs.account WHERE account_id > $1 ORDER BY account_id LIMIT $2;

-- name: make_partition
SELECT evs.make_partition($1);

-- name: drop_partitions
SELECT evs.drop_partitions($1) AS month ORDER BY month;


-- Returns ------------------------------------------------------------------------------------------------------------

-- name: closed_sessions
SELECT (extract(epoch FROM closed_at) * 1000)::bigint AS closed_ms
FROM (SELECT DISTINCT closed_at FROM evs.closed_session WHERE shard IN (-1, $1) ORDER BY closed_at DESC LIMIT $2) AS newest
ORDER BY closed_at;

-- Sessions are closed in order: what the slice that is furthest behind has closed, or had no need to, all have.
-- name: sessions_closed_by_all
SELECT (extract(epoch FROM closed_at) * 1000)::bigint AS closed_ms
FROM (
    SELECT DISTINCT closed_at FROM evs.closed_session
    WHERE closed_at <= (
        SELECT min(coalesce(newest.closed_at, '-infinity'))
        FROM evs.engine AS engine
        CROSS JOIN LATERAL (
            SELECT max(closed_at) AS closed_at FROM evs.closed_session WHERE shard IN (-1, engine.shard)
        ) AS newest
        WHERE engine.shard BETWEEN 0 AND 63 AND engine.flush_number > 0
    )
    ORDER BY closed_at DESC LIMIT $1
) AS newest
ORDER BY closed_at;

-- The index begins with the account: the oldest row of each is found at once, the oldest of all only by a scan.
-- name: first_valuation
SELECT (extract(epoch FROM min(first.timestamp)) * 1000)::bigint AS first_ms
FROM evs.account AS account
CROSS JOIN LATERAL (
    SELECT timestamp FROM equity_timeseries WHERE account_id = account.account_id ORDER BY timestamp LIMIT 1
) AS first
WHERE account.shard = $1;

-- $1 is the roll, $2 the session closed before it, $3 all that are kept, $4 whose accounts. The roll's own row comes before any other that
-- is stamped so. An account's first session counts from its base, which any row of that session tells; if an
-- account was left out of the session before, an older one stands in.
-- name: close_session
WITH close AS (
    SELECT DISTINCT ON (account_id) account_id, total_equity, net_flow, version
    FROM equity_timeseries
    WHERE timestamp = $1 AND day_change = 0 AND account_id IN (SELECT account_id FROM evs.account WHERE shard = $4)
    ORDER BY account_id, version
), based AS (
    SELECT close.account_id, close.total_equity, close.net_flow,
           coalesce(before.growth, older.growth, 1000000000000) AS growth,
           coalesce(before.profit, older.profit, opening.profit, close.total_equity - close.net_flow) AS base
    FROM close
    LEFT JOIN (
        SELECT account_id, growth, total_equity - net_flow AS profit FROM evs.session_close WHERE closed_at = $2
    ) AS before USING (account_id)
    LEFT JOIN LATERAL (
        SELECT growth, total_equity - net_flow AS profit
        FROM evs.session_close
        WHERE before.account_id IS NULL AND closed_at = ANY($3::timestamptz[]) AND account_id = close.account_id
        ORDER BY closed_at DESC LIMIT 1
    ) AS older ON true
    LEFT JOIN LATERAL (
        SELECT total_equity - net_flow - day_change AS profit
        FROM equity_timeseries
        WHERE before.account_id IS NULL AND older.growth IS NULL
          AND account_id = close.account_id AND timestamp <= $1 AND version < close.version
        ORDER BY timestamp DESC, version DESC LIMIT 1
    ) AS opening ON true
)
INSERT INTO evs.session_close (closed_at, account_id, total_equity, net_flow, capital, growth)
SELECT $1, account_id, total_equity, net_flow, base + net_flow, evs.linked_growth(growth, total_equity, base + net_flow)
FROM based
ON CONFLICT DO NOTHING;

-- name: note_closed_session
INSERT INTO evs.closed_session (shard, closed_at, account_count) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: durable_session
SELECT session_start_ms FROM evs.engine WHERE shard = $1;

-- name: session_closes
SELECT account_id, total_equity, capital, growth
FROM evs.session_close
WHERE closed_at = $2 AND ($1 = -1 OR account_id IN (SELECT account_id FROM evs.account WHERE shard = $1))
ORDER BY account_id;

-- name: trim_session_closes
DELETE FROM evs.session_close AS old
USING evs.account AS account
WHERE old.closed_at < $2 AND account.account_id = old.account_id AND account.shard = $1;

-- name: newest_valuation
SELECT (extract(epoch FROM timestamp) * 1000)::bigint, version, total_equity, net_flow, day_change
FROM equity_timeseries
WHERE account_id = $1 AND timestamp <= $2 AND version < $3
ORDER BY timestamp DESC, version DESC LIMIT 1;

-- name: oldest_valuation
SELECT (extract(epoch FROM timestamp) * 1000)::bigint, version, total_equity, net_flow, day_change
FROM equity_timeseries
WHERE account_id = $1 AND timestamp > $2 AND timestamp <= $3
ORDER BY timestamp, version LIMIT 1;

-- As in close_session: of the rows stamped with the roll, its own is the first. One look into the index a roll. Rolls are
-- those of the calendar, and those that were when the settings were others.
-- name: closes_of_account
SELECT (extract(epoch FROM roll.at) * 1000)::bigint, close.version, close.total_equity, close.net_flow, close.day_change
FROM (
    SELECT unnest($2::timestamptz[]) AS at
    UNION
    SELECT closed_at FROM evs.closed_session WHERE closed_at BETWEEN $3 AND $4 AND shard IN (-1, evs.shard_of($1))
) AS roll
CROSS JOIN LATERAL (
    SELECT version, total_equity, net_flow, day_change
    FROM equity_timeseries
    WHERE account_id = $1 AND timestamp = roll.at AND day_change = 0
    ORDER BY version LIMIT 1
) AS close
ORDER BY roll.at;

-- The last row of each minute, from the newest back: each is found by one look into the index, whatever lies between.
-- name: minutes_of_account
WITH RECURSIVE minute AS (
    (
        SELECT timestamp, total_equity, net_flow
        FROM equity_timeseries
        WHERE account_id = $1 AND timestamp > $2 AND timestamp <= $3
        ORDER BY timestamp DESC, version DESC LIMIT 1
    )
    UNION ALL
    SELECT before.timestamp, before.total_equity, before.net_flow
    FROM minute
    CROSS JOIN LATERAL (
        SELECT timestamp, total_equity, net_flow
        FROM equity_timeseries
        WHERE account_id = $1 AND timestamp > $2 AND timestamp < date_trunc('minute', minute.timestamp)
        ORDER BY timestamp DESC, version DESC LIMIT 1
    ) AS before
)
SELECT (extract(epoch FROM timestamp) * 1000)::bigint, total_equity, net_flow FROM minute ORDER BY timestamp;

-- name: display_names
SELECT id::bigint AS account_id, coalesce(to_jsonb(accounts) ->> 'display_name', '') AS display_name
FROM accounts
WHERE id = ANY($1::bigint[]);


-- History ------------------------------------------------------------------------------------------------------------

-- name: begin_thinning
SELECT evs.begin_thinning($1);

-- name: thin
SELECT evs.thin($1, $2, $3);

-- name: finish_thinning
SELECT read_count, kept_count FROM evs.finish_thinning($1);

-- Whatever the planner believes of an account, a read must stop at its limit: any plan but a scan along the key would go
-- through all rows of the range first, and do so again at each step.
-- name: plan_along_the_key
SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true);

-- name: history_rows
SELECT timestamp, version, total_equity, realized_pnl, net_flow
FROM equity_timeseries
WHERE account_id = $1 AND timestamp >= $2 AND timestamp < $4 AND (timestamp, version) > ($2, $3::bigint)
ORDER BY timestamp, version
LIMIT $5;

-- The condition on timestamp alone is what leaves partitions out. Rows come in the order of the index, so that the
-- aggregates, which say their order, have nothing to sort but a few thousand rows in memory.
-- name: history_stretches
SELECT min(timestamp), max(timestamp),
       (array_agg(version ORDER BY timestamp, version))[count(*)],
       (array_agg(total_equity ORDER BY timestamp, version))[1],
       max(total_equity),
       min(total_equity),
       (array_agg(total_equity ORDER BY timestamp, version))[count(*)],
       (array_agg(realized_pnl ORDER BY timestamp, version))[count(*)],
       (array_agg(net_flow ORDER BY timestamp, version))[count(*)],
       count(*)
FROM (
    SELECT timestamp, version, total_equity, realized_pnl, net_flow
    FROM equity_timeseries
    WHERE account_id = $1 AND timestamp >= $2 AND timestamp < $4 AND (timestamp, version) > ($2, $3::bigint)
    ORDER BY timestamp, version
    LIMIT $5
) AS valuation
GROUP BY date_bin($6::interval, timestamp, $7::timestamptz)
ORDER BY 1;

-- name: history_newest
SELECT timestamp, version, total_equity, realized_pnl, net_flow
FROM equity_timeseries
WHERE account_id = $1 AND timestamp < $2
ORDER BY timestamp DESC, version DESC
LIMIT 1;
