-- What EVS needs to start again where it stopped: the fold of exactly the events up to evs.source. Written by EVS alone,
-- each flush in one transaction together with its rows of equity_timeseries. Money in cents, quantities in bp, times in
-- unix milliseconds. Rows are updated over and over: the room left on each page keeps those updates out of the indexes.

CREATE SCHEMA IF NOT EXISTS evs;

CREATE TABLE evs.engine (
    singleton        BOOLEAN PRIMARY KEY DEFAULT true CHECK (singleton),
    flush_number     BIGINT NOT NULL DEFAULT 0,
    start_number     BIGINT NOT NULL DEFAULT 0 CHECK (start_number < 2097152),
    version          BIGINT NOT NULL DEFAULT 0,
    tick             BIGINT NOT NULL DEFAULT 0,
    session_start_ms BIGINT NOT NULL DEFAULT -1,
    tick_timed       BOOLEAN NOT NULL DEFAULT false,
    latest_version   BIGINT NOT NULL DEFAULT 0,
    settlement_count BIGINT NOT NULL DEFAULT 0,
    event_count      BIGINT NOT NULL DEFAULT 0,
    committed_at     TIMESTAMP WITH TIME ZONE
) WITH (fillfactor = 10);
INSERT INTO evs.engine DEFAULT VALUES;
COMMENT ON TABLE evs.engine IS 'One row, locked by every flush: what is committed, and who may write.';
COMMENT ON COLUMN evs.engine.flush_number IS 'The last committed flush; 0 until the exchange''s tables have been imported.';
COMMENT ON COLUMN evs.engine.start_number IS 'Counted up by every start of EVS; a process with a lower one writes no more.';
COMMENT ON COLUMN evs.engine.version IS 'The newest valuation pass.';
COMMENT ON COLUMN evs.engine.session_start_ms IS 'When the current session began; -1 before the first tick.';
COMMENT ON COLUMN evs.engine.tick_timed IS 'Whether the last tick carried its own time: then only ticks roll the session.';
COMMENT ON COLUMN evs.engine.latest_version IS 'evs.latest is complete up to here; newer snapshots are in equity_timeseries.';
COMMENT ON COLUMN evs.engine.settlement_count IS 'Settlement ids ever remembered: the ordinal of the newest.';
COMMENT ON COLUMN evs.engine.event_count IS 'Events ever committed.';

CREATE TABLE evs.account (
    account_id          BIGINT PRIMARY KEY,
    cash_cents          BIGINT NOT NULL,
    net_flow_cents      BIGINT NOT NULL,
    realized_cents      BIGINT NOT NULL,
    base_equity_cents   BIGINT NOT NULL,
    base_net_flow_cents BIGINT NOT NULL,
    has_base            BOOLEAN NOT NULL,
    dirty               BOOLEAN NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE evs.account IS 'Accounts with everything applied, valued or not.';
COMMENT ON COLUMN evs.account.base_equity_cents IS 'Equity at the last session close; meaningless unless has_base.';
COMMENT ON COLUMN evs.account.dirty IS 'Whether the next completed tick must value it.';

CREATE TABLE evs.position (
    account_id            BIGINT NOT NULL,
    symbol_id             BIGINT NOT NULL,
    quantity_bp           BIGINT NOT NULL,
    basis_cents           BIGINT NOT NULL,
    realized_cents        BIGINT NOT NULL,
    valued_quantity_bp    BIGINT NOT NULL,
    valued_basis_cents    BIGINT NOT NULL,
    valued_realized_cents BIGINT NOT NULL,
    updated_ms            BIGINT NOT NULL,
    listed                BOOLEAN NOT NULL,
    PRIMARY KEY (account_id, symbol_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE evs.position IS 'Positions, closed ones at quantity 0; valued_ is as of the account''s newest valuation.';
COMMENT ON COLUMN evs.position.listed IS 'Whether a valuation has seen the position.';

CREATE TABLE evs.mark (
    symbol_id          BIGINT PRIMARY KEY,
    price_cents        BIGINT NOT NULL,
    source             SMALLINT NOT NULL,
    mark_time_ms       BIGINT NOT NULL,
    valued_price_cents BIGINT NOT NULL,
    valued_source      SMALLINT NOT NULL,
    valued_time_ms     BIGINT NOT NULL,
    changed            BOOLEAN NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE evs.mark IS 'Prices that value positions; valued_ is as of the last completed tick.';
COMMENT ON COLUMN evs.mark.source IS 'Number of the contract''s MarkSource.';
COMMENT ON COLUMN evs.mark.changed IS 'Whether the price moved since the last completed tick.';

CREATE TABLE evs.latest (
    account_id            BIGINT PRIMARY KEY,
    version               BIGINT NOT NULL,
    tick                  BIGINT NOT NULL,
    timestamp_ms          BIGINT NOT NULL,
    equity_cents          BIGINT NOT NULL,
    cash_cents            BIGINT NOT NULL,
    position_value_cents  BIGINT NOT NULL,
    day_change_cents      BIGINT NOT NULL,
    day_change_percent_e4 BIGINT NOT NULL,
    unrealized_cents      BIGINT NOT NULL,
    realized_cents        BIGINT NOT NULL,
    net_flow_cents        BIGINT NOT NULL,
    flags                 INTEGER NOT NULL
);
COMMENT ON TABLE evs.latest IS 'The newest snapshot of every account at the last checkpoint, which replaces them; and of rows set aside since.';

CREATE TABLE evs.source (
    source           TEXT PRIMARY KEY,
    epoch            BIGINT NOT NULL,
    applied_sequence BIGINT NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE evs.source IS 'Watermarks: how far each sender''s events are in this database.';

CREATE TABLE evs.digest (
    source         TEXT NOT NULL,
    epoch          BIGINT NOT NULL,
    last_sequence  BIGINT NOT NULL,
    first_sequence BIGINT NOT NULL,
    digests        BYTEA NOT NULL,
    PRIMARY KEY (source, epoch, last_sequence),
    CHECK (octet_length(digests) = 8 * (last_sequence - first_sequence + 1))
);
COMMENT ON TABLE evs.digest IS 'Content of the last sequences of each sender, 8 little-endian bytes an event: tells a repeat from a conflict.';

CREATE TABLE evs.settlement (
    ordinal       BIGINT PRIMARY KEY,
    account_id    BIGINT NOT NULL,
    side          SMALLINT NOT NULL,
    settlement_id BIGINT NOT NULL
);
COMMENT ON TABLE evs.settlement IS 'Settlement ids of unsequenced trades, the newest limits.SETTLEMENTS_KEPT: a repeat is recognised by them.';

CREATE TABLE evs.unannounced (
    account_id  BIGINT NOT NULL,
    trade_id    BIGINT NOT NULL,
    symbol_id   BIGINT NOT NULL,
    side        SMALLINT NOT NULL,
    quantity_bp BIGINT NOT NULL,
    price_cents BIGINT NOT NULL,
    PRIMARY KEY (account_id, trade_id)
);
COMMENT ON TABLE evs.unannounced IS 'Trades that an account was loaded with and that EVS has yet to be told of: that announcement is skipped.';
