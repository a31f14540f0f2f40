-- Old months of equity_timeseries, written anew with fewer rows by the running process: of each account and minute the
-- first, the highest, the lowest and the last valuation, and every one at a session roll.

CREATE TABLE evs.thinned (
    month         DATE PRIMARY KEY,
    until_version BIGINT NOT NULL,
    account_id    BIGINT NOT NULL DEFAULT 0,
    timestamp     TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT '-infinity',
    version       BIGINT NOT NULL DEFAULT 0,
    read_count    BIGINT NOT NULL DEFAULT 0,
    kept_count    BIGINT NOT NULL DEFAULT 0,
    done_at       TIMESTAMP WITH TIME ZONE
);
COMMENT ON TABLE evs.thinned IS 'Months of equity_timeseries (UTC) that have been thinned, or are being thinned: done_at is NULL.';
COMMENT ON COLUMN evs.thinned.until_version IS 'Rows with a higher version came into the month later and all stay.';
COMMENT ON COLUMN evs.thinned.account_id IS 'With timestamp and version the key of the last row gone through.';
COMMENT ON COLUMN evs.thinned.read_count IS 'Rows gone through.';
COMMENT ON COLUMN evs.thinned.kept_count IS 'Those of them that stay.';

CREATE FUNCTION evs.columns_of(relation REGCLASS) RETURNS TEXT
LANGUAGE sql STABLE AS $$
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
    FROM pg_attribute
    WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;
COMMENT ON FUNCTION evs.columns_of IS 'The columns of a table, as a statement lists them.';

CREATE FUNCTION evs.begin_thinning(before DATE) RETURNS DATE
LANGUAGE plpgsql AS $$
DECLARE
    child   TEXT;
    copy    TEXT;
    due     DATE;
    has_new BOOLEAN;
BEGIN
    FOR child, due IN
        SELECT relname, to_date(right(relname, 7), 'YYYY_MM')
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'equity_timeseries'::regclass AND pg_table_is_visible(inhrelid)
            AND relname ~ '^equity_timeseries_\d{4}_\d{2}$'
        ORDER BY relname
    LOOP
        CONTINUE WHEN due + INTERVAL '1 month' > before;
        CONTINUE WHEN EXISTS (SELECT FROM evs.thinned WHERE month = due AND done_at IS NOT NULL);
        copy := 'equity_timeseries_thinning_' || to_char(due, 'YYYY_MM');
        IF to_regclass(copy) IS NOT NULL THEN
            RETURN due;
        END IF;
        -- A start finds the newest valuations in evs.latest and in what is newer than that: no such row may go.
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE version > (SELECT latest_version FROM evs.engine))', child)
            INTO has_new;
        CONTINUE WHEN has_new;
        EXECUTE format(
            'CREATE TABLE %I (LIKE equity_timeseries INCLUDING ALL, CHECK (timestamp >= %L AND timestamp < %L))',
            copy, due::timestamp AT TIME ZONE 'UTC', (due + INTERVAL '1 month') AT TIME ZONE 'UTC'
        );
        DELETE FROM evs.thinned WHERE month = due;
        INSERT INTO evs.thinned (month, until_version) SELECT due, latest_version FROM evs.engine;
        RETURN due;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION evs.begin_thinning IS
    'The oldest month that ended by a date (UTC) and is not thinned yet, but for those that a start would read; makes the table that takes what stays.';

CREATE FUNCTION evs.thin(month DATE, rolls TIMESTAMPTZ[], rows_max INTEGER) RETURNS BIGINT
LANGUAGE plpgsql AS $$
DECLARE
    suffix TEXT := to_char(month, 'YYYY_MM');
    place  evs.thinned;
    count  BIGINT;
BEGIN
    SELECT * INTO STRICT place FROM evs.thinned WHERE thinned.month = thin.month FOR UPDATE;
    EXECUTE format($statement$
        WITH next AS MATERIALIZED (
            SELECT * FROM %1$I
            WHERE (account_id, timestamp, version) > ($1, $2, $3)
            ORDER BY account_id, timestamp, version
            LIMIT $4
        ), placed AS (
            SELECT *,
                   row_number() OVER (minute ORDER BY timestamp, version) AS as_first,
                   row_number() OVER (minute ORDER BY timestamp DESC, version DESC) AS as_last,
                   row_number() OVER (minute ORDER BY total_equity DESC, timestamp, version) AS as_highest,
                   row_number() OVER (minute ORDER BY total_equity, timestamp, version) AS as_lowest
            FROM next
            WINDOW minute AS (PARTITION BY account_id, date_bin('1 minute', timestamp, to_timestamp(0)))
        ), kept AS (
            INSERT INTO %2$I (%3$s)
            SELECT %3$s FROM placed
            WHERE version <= $5 AND (1 IN (as_first, as_last, as_highest, as_lowest) OR timestamp = ANY ($6))
            ORDER BY account_id, timestamp, version
            RETURNING 1
        ), last AS (
            SELECT account_id, timestamp, version FROM next ORDER BY account_id DESC, timestamp DESC, version DESC LIMIT 1
        )
        UPDATE evs.thinned AS ours
        SET account_id = last.account_id, timestamp = last.timestamp, version = last.version,
            read_count = read_count + (SELECT count(*) FROM next),
            kept_count = kept_count + (SELECT count(*) FROM kept)
        FROM last
        WHERE month = $7
        RETURNING read_count
    $statement$, 'equity_timeseries_' || suffix, 'equity_timeseries_thinning_' || suffix,
        evs.columns_of('equity_timeseries'))
        INTO count
        USING place.account_id, place.timestamp, place.version, rows_max, place.until_version, rolls, month;
    RETURN coalesce(count - place.read_count, 0);
END
$$;
COMMENT ON FUNCTION evs.thin IS
    'Goes on with a month by some rows, in the order of its key: how many. A minute that is cut in two keeps what both parts keep.';

CREATE FUNCTION evs.finish_thinning(month DATE) RETURNS evs.thinned
LANGUAGE plpgsql AS $$
DECLARE
    name  TEXT := 'equity_timeseries_' || to_char(month, 'YYYY_MM');
    copy  TEXT := 'equity_timeseries_thinning_' || to_char(month, 'YYYY_MM');
    place evs.thinned;
BEGIN
    -- Nobody writes between the last rows taken over and the exchange of the tables, and nobody reads half of it.
    LOCK TABLE equity_timeseries IN ACCESS EXCLUSIVE MODE;
    UPDATE evs.thinned SET done_at = now() WHERE thinned.month = finish_thinning.month RETURNING * INTO STRICT place;
    EXECUTE format('INSERT INTO %I (%3$s) SELECT %3$s FROM %2$I WHERE version > $1', copy, name,
        evs.columns_of('equity_timeseries')) USING place.until_version;
    EXECUTE format('ALTER TABLE equity_timeseries DETACH PARTITION %I', name);
    EXECUTE format('DROP TABLE %I', name);
    EXECUTE format('ALTER TABLE %I RENAME TO %I', copy, name);
    EXECUTE format(
        'ALTER TABLE equity_timeseries ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name, month::timestamp AT TIME ZONE 'UTC', (month + INTERVAL '1 month') AT TIME ZONE 'UTC'
    );
    RETURN place;
END
$$;
COMMENT ON FUNCTION evs.finish_thinning IS
    'Puts what stays of a month, and what came into it since, in the place of its partition, whose disk is given back.';
