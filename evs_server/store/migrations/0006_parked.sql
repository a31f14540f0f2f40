-- Events of accounts that have yet to be read from the exchange's tables, and accounts read not long ago (DESIGN 6).
-- Money in cents, quantities in bp, times in unix milliseconds.

CREATE TABLE evs.parked (
    parked_id     BIGINT PRIMARY KEY,
    account_id    BIGINT NOT NULL,
    kind          SMALLINT NOT NULL CHECK (kind IN (1, 2)),
    symbol_id     BIGINT NOT NULL,
    side          SMALLINT NOT NULL,
    quantity_bp   BIGINT NOT NULL,
    price_cents   BIGINT NOT NULL,
    fee_cents     BIGINT NOT NULL,
    settlement_id BIGINT NOT NULL,
    amount_cents  BIGINT NOT NULL
);
COMMENT ON TABLE evs.parked IS 'Events that count as applied and wait for their account: in the order of parked_id once it is read.';
COMMENT ON COLUMN evs.parked.kind IS '1 a trade, 2 a flow, of which only amount_cents counts.';

CREATE TABLE evs.newcomer (
    account_id    BIGINT PRIMARY KEY,
    funding_cents BIGINT NOT NULL,
    until_ms      BIGINT NOT NULL
);
COMMENT ON TABLE evs.newcomer IS 'Accounts read with trades: while new, their flows are booked from what the exchange''s tables have.';
COMMENT ON COLUMN evs.newcomer.funding_cents IS 'Paid in less paid out, by the exchange''s tables, as far as it has been taken over.';
