-- The world as tables, with every index that the statement of a tick can use, and room in each page for newer snapshots.
CREATE UNLOGGED TABLE account (account_id bigint PRIMARY KEY, cash_cents bigint NOT NULL, base_cents bigint NOT NULL);
CREATE UNLOGGED TABLE position (
  account_id bigint NOT NULL, symbol_id bigint NOT NULL, quantity_bp bigint NOT NULL, basis_cents bigint NOT NULL
);
CREATE UNLOGGED TABLE mark (symbol_id bigint PRIMARY KEY, price_cents bigint NOT NULL);
CREATE UNLOGGED TABLE latest (
  account_id bigint PRIMARY KEY, total_equity bigint, cash_balance bigint, position_value bigint, day_change bigint,
  day_change_percent numeric(10, 4), unrealized_pnl bigint
) WITH (fillfactor = 50);
