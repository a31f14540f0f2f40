-- An exchange of some size, in its own tables: cash, positions at an average cost, and one trade of each symbol.
INSERT INTO accounts (id, display_name, currency_balance)
SELECT id, 'account ' || id, 1000000 FROM generate_series(1, :accounts) AS id;

INSERT INTO positions (account_id, symbol_id, quantity, avg_cost)
SELECT account_id, 1 + (account_id * 7 + n * 101) % :symbols, 10000 * (1 + n), 100 + n
FROM generate_series(1, :accounts) AS account_id, generate_series(1, :positions) AS n
ON CONFLICT DO NOTHING;

INSERT INTO trades (account_id, symbol_id, side, quantity, price, order_id)
SELECT 1, symbol_id, 'BUY', 10000, 100 + symbol_id % 50, symbol_id FROM generate_series(1, :symbols) AS symbol_id;
