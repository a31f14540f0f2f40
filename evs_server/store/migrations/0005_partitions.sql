-- Months of equity_timeseries, made ahead by the running process.

CREATE FUNCTION evs.make_partition(month DATE) RETURNS TEXT
LANGUAGE plpgsql AS $$
DECLARE
    name  TEXT := 'equity_timeseries_' || to_char(month, 'YYYY_MM');
    since TIMESTAMPTZ := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    until TIMESTAMPTZ := (date_trunc('month', month::timestamp) + INTERVAL '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN 'exists';
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF equity_timeseries FOR VALUES FROM (%L) TO (%L)', name, since, until);
    RETURN 'made';
EXCEPTION
    WHEN check_violation THEN
        RETURN 'default';
    WHEN duplicate_table THEN
        RETURN 'exists';
    WHEN insufficient_privilege THEN
        RETURN 'forbidden';
END
$$;
COMMENT ON FUNCTION evs.make_partition IS
    'Makes the partition of a month (UTC): made, exists, forbidden if our role may not, or default if rows of that month are in the default partition and stay there.';
