-- What was corrected by reconciliation and recomputing: written in the transaction of the flush that carries it, never
-- updated. Money in cents, quantities in bp.

CREATE TABLE evs.correction (
    id           BIGSERIAL PRIMARY KEY,
    corrected_at TIMESTAMP WITH TIME ZONE NOT NULL,
    account_id   BIGINT NOT NULL,
    kind         TEXT NOT NULL,
    field        TEXT NOT NULL,
    symbol_id    BIGINT,
    before       BIGINT NOT NULL,
    after        BIGINT NOT NULL,
    reason       TEXT NOT NULL
);
CREATE INDEX correction_account_idx ON evs.correction (account_id, id);
COMMENT ON TABLE evs.correction IS 'Numbers of accounts that EVS corrected, one row per number: the audit of reconciliation and recomputing.';
COMMENT ON COLUMN evs.correction.kind IS 'flow: unannounced cash was booked; trades: rows of trades were applied; recompute: rebuilt from trades.';
COMMENT ON COLUMN evs.correction.field IS 'cash, net_flow and realized are of the account; quantity, basis and position_realized of one position.';
COMMENT ON COLUMN evs.correction.symbol_id IS 'Of the position; NULL for numbers of the account.';
