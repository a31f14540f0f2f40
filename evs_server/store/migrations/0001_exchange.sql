-- The exchange's own tables, where they do not exist: in the demo and in tests. AccountService owns and writes them; in
-- production they are there already, with further columns and possibly other integer widths, and stay as they are.

CREATE TABLE IF NOT EXISTS accounts (
    id               BIGSERIAL PRIMARY KEY,
    display_name     VARCHAR(255),
    currency_balance BIGINT DEFAULT 0,        -- cents
    created_at       TIMESTAMP DEFAULT now(),
    last_updated     TIMESTAMP DEFAULT now()
);

CREATE TABLE IF NOT EXISTS positions (
    id           BIGSERIAL PRIMARY KEY,
    account_id   BIGINT REFERENCES accounts (id),
    symbol_id    BIGINT NOT NULL,
    quantity     BIGINT NOT NULL,             -- bp, signed
    avg_cost     BIGINT NOT NULL,             -- cents per share
    last_updated TIMESTAMP DEFAULT now(),
    UNIQUE (account_id, symbol_id)
);

DO $$
BEGIN
    -- The index goes with the table: on an exchange's own, large table it would hold up settlement while it is built.
    IF to_regclass('trades') IS NULL THEN
        CREATE TABLE trades (
            id         BIGSERIAL PRIMARY KEY,
            account_id BIGINT REFERENCES accounts (id),
            symbol_id  BIGINT NOT NULL,
            side       VARCHAR(4) NOT NULL,   -- BUY or SELL
            quantity   BIGINT NOT NULL,       -- bp
            price      BIGINT NOT NULL,       -- cents per share
            timestamp  TIMESTAMP DEFAULT now(),
            order_id   BIGINT NOT NULL
        );
        CREATE INDEX trades_account_id_idx ON trades (account_id);
    END IF;
END
$$;
