-- Months of equity_timeseries that nobody needs any more, dropped by the running process.

CREATE FUNCTION evs.drop_partitions(before DATE) RETURNS SETOF TEXT
LANGUAGE plpgsql AS $$
DECLARE
    child   REGCLASS;
    month   DATE;
    has_new BOOLEAN;
BEGIN
    FOR child IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'equity_timeseries'::regclass LOOP
        month := to_date(substring(child::text FROM 'equity_timeseries_(\d{4}_\d{2})"?$'), 'YYYY_MM');
        CONTINUE WHEN month IS NULL OR month + INTERVAL '1 month' > before;
        -- A start finds the newest valuations in evs.latest and in what is newer than that: no such row may go.
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE version > (SELECT latest_version FROM evs.engine))', child)
            INTO has_new;
        CONTINUE WHEN has_new;
        EXECUTE format('DROP TABLE %s', child);
        RETURN NEXT to_char(month, 'YYYY-MM');
    END LOOP;
END
$$;
COMMENT ON FUNCTION evs.drop_partitions IS
    'Drops the months that end by a date (UTC), but for those that a start would read; gives the months dropped.';
