-- A year of one-minute history of account 1, and as many rows a minute of others, each of one account in :accounts.
INSERT INTO equity_timeseries (account_id, timestamp, tick, total_equity, cash_balance, position_value, unrealized_pnl,
                               realized_pnl, day_change, day_change_percent, version, flags, net_flow)
SELECT CASE WHEN n = 0 THEN 1 ELSE 2 + abs(hashint8(minute * :others + n)::bigint) % (:accounts - 1) END,
       to_timestamp(60 * minute), minute, 1000000 + (minute * 7919 + n) % 10007, 1000000, (minute * 7919 + n) % 10007,
       (minute * 7919 + n) % 10007, 0, 0, 0, minute * :others + n, 0, 1000000
FROM generate_series(:first_minute::bigint, :last_minute::bigint) AS minute, generate_series(0, :others - 1) AS n;
