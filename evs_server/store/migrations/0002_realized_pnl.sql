-- optional: adds realized_pnl to the exchange's accounts and positions, which may need the owner of those tables
ALTER TABLE accounts ADD COLUMN IF NOT EXISTS realized_pnl BIGINT DEFAULT 0;
ALTER TABLE positions ADD COLUMN IF NOT EXISTS realized_pnl BIGINT DEFAULT 0;
COMMENT ON COLUMN accounts.realized_pnl IS 'Cents; derived from evs.account a moment after each flush.';
COMMENT ON COLUMN positions.realized_pnl IS 'Cents; derived from evs.position a moment after each flush.';
