-- The history of every account: one row per valuation, the numbers that streams and reads of the same version carry.

DO $$
BEGIN
    IF to_regclass('equity_timeseries') IS NOT NULL THEN
        RAISE EXCEPTION 'table equity_timeseries exists and was not made by EVS'
            USING HINT = 'Rename it, then start again; EVS makes its own, partitioned by time.';
    END IF;
END
$$;

CREATE TABLE equity_timeseries (
    id                 BIGSERIAL,
    account_id         BIGINT NOT NULL,
    timestamp          TIMESTAMP WITH TIME ZONE NOT NULL,
    tick               BIGINT NOT NULL,
    total_equity       BIGINT NOT NULL,
    cash_balance       BIGINT NOT NULL,
    position_value     BIGINT NOT NULL,
    unrealized_pnl     BIGINT NOT NULL,
    realized_pnl       BIGINT NOT NULL,
    day_change         BIGINT NOT NULL,
    day_change_percent NUMERIC(10, 4) NOT NULL,
    version            BIGINT NOT NULL,
    flags              INTEGER NOT NULL,
    net_flow           BIGINT NOT NULL,
    -- A key of a partitioned table must hold the column that it is partitioned by.
    PRIMARY KEY (account_id, timestamp, version),
    CHECK (total_equity = cash_balance + position_value)
) PARTITION BY RANGE (timestamp);

-- Ids are taken in runs, or a large copy spends its time on the sequence; they are unique, not dense.
ALTER SEQUENCE equity_timeseries_id_seq CACHE 256;

-- Rows come in the order of version, and almost in that of time: a block-range index costs next to nothing to keep.
CREATE INDEX equity_timeseries_timestamp_idx ON equity_timeseries USING brin (timestamp) WITH (autosummarize = on);
CREATE INDEX equity_timeseries_version_idx ON equity_timeseries USING brin (version) WITH (autosummarize = on);

CREATE TABLE equity_timeseries_default PARTITION OF equity_timeseries DEFAULT;

COMMENT ON TABLE equity_timeseries IS
    'Valuations, one row per account and version; partitioned by month (UTC). Written by EVS alone, never updated. Money in cents.';
COMMENT ON COLUMN equity_timeseries.timestamp IS 'When it was valued: the time of the tick where the sender gave one.';
COMMENT ON COLUMN equity_timeseries.tick IS 'The exchange''s id of the tick; may repeat and go backwards: order by version.';
COMMENT ON COLUMN equity_timeseries.day_change_percent IS 'In percent, clamped to +-999,999.9999.';
COMMENT ON COLUMN equity_timeseries.version IS 'The valuation pass; grows with every pass, restarts included.';
COMMENT ON COLUMN equity_timeseries.flags IS 'Bit n is number n of the contract''s EquityFlag.';
COMMENT ON COLUMN equity_timeseries.net_flow IS 'total_equity - net_flow = realized_pnl + unrealized_pnl.';
COMMENT ON TABLE equity_timeseries_default IS 'Rows of months that have no partition of their own.';
