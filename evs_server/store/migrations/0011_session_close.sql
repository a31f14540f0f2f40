-- What returns over many sessions are made from: every account at the close of each session, as far as a ranking looks
-- back. Derived: made from the rows of equity_timeseries once they are committed, a moment after each roll, and
-- made again if they are lost. Money in cents.

CREATE TABLE evs.session_close (
    closed_at        TIMESTAMP WITH TIME ZONE NOT NULL,
    account_id       BIGINT NOT NULL,
    total_equity     BIGINT NOT NULL,
    net_flow         BIGINT NOT NULL,
    capital          BIGINT NOT NULL,
    growth           BIGINT NOT NULL,
    PRIMARY KEY (closed_at, account_id)
);
COMMENT ON TABLE evs.session_close IS 'Accounts at the close of each session; the newest sessions only.';
COMMENT ON COLUMN evs.session_close.closed_at IS 'The roll: when the session ended and the next began.';
COMMENT ON COLUMN evs.session_close.capital IS 'total_equity without the gain of the session; flows count as made at its start.';
COMMENT ON COLUMN evs.session_close.growth IS
    'Product of total_equity / capital of all sessions since the first valuation, in 10^-12; see evs.linked_growth.';

CREATE TABLE evs.closed_session (
    closed_at     TIMESTAMP WITH TIME ZONE PRIMARY KEY,
    account_count BIGINT NOT NULL
);
COMMENT ON TABLE evs.closed_session IS 'Sessions whose accounts are all in evs.session_close; the first one had nothing to close.';

-- The same as linked in engine/growth.py, which says why.
CREATE FUNCTION evs.linked_growth(growth BIGINT, total_equity BIGINT, capital BIGINT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN growth <= 0 OR capital <= 0 THEN growth ELSE (
        SELECT greatest(-1e18, least(1e18,
            quotient + sign(product) * (
                CASE WHEN 2 * abs(rest) > capital OR (2 * abs(rest) = capital AND mod(quotient, 2) <> 0) THEN 1 ELSE 0 END
            )))::bigint
        FROM (SELECT growth::numeric * total_equity AS product) AS a,
             LATERAL (SELECT div(product, capital) AS quotient, mod(product, capital) AS rest) AS b
    ) END
$$;
COMMENT ON FUNCTION evs.linked_growth IS
    'growth * total_equity / capital, rounded half to even and cut off at a millionfold; without capital, or lost whole, growth as it is.';
