-- Statements of the miniature exchange: AccountService (it owns accounts, positions and trades), and the audit.

-- name: open_accounts
-- Ids come back in the order of the names: they are given out in the order of insertion.
INSERT INTO accounts (display_name, currency_balance)
SELECT opened.display_name, opened.currency_balance
FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS opened (display_name, currency_balance, place)
ORDER BY opened.place
RETURNING id;

-- name: find_accounts
SELECT display_name, min(id) AS id
FROM accounts
WHERE display_name = ANY ($1::text[])
GROUP BY display_name;

-- name: last_prices
-- Among the newest trades only: there is no index by symbol, and a day's trades need not be read for a start.
SELECT DISTINCT ON (symbol_id) symbol_id, price
FROM (SELECT id, symbol_id, price FROM trades ORDER BY id DESC LIMIT 10000) AS newest
WHERE symbol_id = ANY ($1::bigint[])
ORDER BY symbol_id, id DESC;

-- name: adjust_balance
UPDATE accounts
SET currency_balance = coalesce(currency_balance, 0) + $2::bigint, last_updated = now()
WHERE id = $1
RETURNING id;

-- name: lock_accounts
-- In one order for everyone, so that two settlements wait for each other instead of deadlocking.
SELECT id
FROM accounts
WHERE id = ANY ($1::bigint[])
ORDER BY id
FOR UPDATE;

-- name: read_holdings
SELECT account_id, symbol_id, quantity, avg_cost
FROM positions
WHERE account_id = ANY ($1::bigint[]) AND symbol_id = ANY ($2::bigint[]);

-- name: reserve_trade_ids
-- The sequence is looked up once: for each id, that would take longer than the id.
WITH of_trades AS MATERIALIZED (SELECT pg_get_serial_sequence('trades', 'id')::regclass AS sequence)
SELECT array_agg(nextval(sequence)) AS ids
FROM of_trades, generate_series(1, $1::integer);

-- name: insert_trades
-- An order of its own for each leg, numbered as the leg is.
INSERT INTO trades (id, account_id, symbol_id, side, quantity, price, timestamp, order_id)
SELECT
    leg.id, leg.account_id, leg.symbol_id, CASE WHEN leg.is_buy THEN 'BUY' ELSE 'SELL' END,
    leg.quantity, leg.price, timestamp '1970-01-01' + leg.time_ms * interval '1 millisecond', leg.id
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::bigint[], $6::bigint[], $7::bigint[])
    AS leg (id, account_id, symbol_id, is_buy, quantity, price, time_ms);

-- name: change_balances
UPDATE accounts
SET currency_balance = coalesce(currency_balance, 0) + change.cents, last_updated = now()
FROM unnest($1::bigint[], $2::bigint[]) AS change (account_id, cents)
WHERE accounts.id = change.account_id;

-- name: write_holdings
INSERT INTO positions (account_id, symbol_id, quantity, avg_cost)
SELECT account_id, symbol_id, quantity, avg_cost
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
    AS holding (account_id, symbol_id, quantity, avg_cost)
ON CONFLICT (account_id, symbol_id)
    DO UPDATE SET quantity = excluded.quantity, avg_cost = excluded.avg_cost, last_updated = now();

-- name: trades_of
SELECT account_id::bigint, symbol_id::bigint, upper(side::text) = 'BUY' AS is_buy, quantity::bigint, price::bigint
FROM trades
WHERE account_id = ANY ($1::bigint[])
ORDER BY id;

-- name: exchange_balances
SELECT id::bigint AS account_id, currency_balance::bigint AS cash
FROM accounts
WHERE id = ANY ($1::bigint[]);

-- name: exchange_holdings
SELECT account_id::bigint, symbol_id::bigint, quantity::bigint
FROM positions
WHERE account_id = ANY ($1::bigint[]);

-- name: state_accounts
SELECT account_id, cash_cents AS cash, net_flow_cents AS "net flow", realized_cents AS "total realized"
FROM evs.account
WHERE account_id = ANY ($1::bigint[]);

-- name: state_positions
SELECT account_id, symbol_id, quantity_bp AS quantity, basis_cents AS basis, realized_cents AS realized
FROM evs.position
WHERE account_id = ANY ($1::bigint[]);

-- name: series_totals
-- Over every row of the accounts: how many there are, and in how many equity and profit do not agree.
SELECT
    count(*) AS row_count,
    count(*) FILTER (WHERE total_equity - net_flow <> realized_pnl + unrealized_pnl OR flags & $2::integer <> 0)
        AS violation_count
FROM equity_timeseries
WHERE account_id = ANY ($1::bigint[]);

-- name: series_newest
-- The newest row is that of the highest version, not of the latest time: market time may lie in the past.
SELECT
    account_id, version, total_equity AS equity, cash_balance AS cash, net_flow AS "net flow",
    realized_pnl AS "total realized"
FROM equity_timeseries
WHERE (account_id, version) IN (
    SELECT account_id, max(version) FROM equity_timeseries WHERE account_id = ANY ($1::bigint[]) GROUP BY account_id
);

-- name: tamper
-- One position, off by one basis point.
UPDATE evs.position
SET quantity_bp = quantity_bp + 1
WHERE (account_id, symbol_id) = (
    SELECT account_id, symbol_id FROM evs.position
    WHERE account_id = ANY ($1::bigint[])
    ORDER BY account_id, symbol_id
    LIMIT 1
);
