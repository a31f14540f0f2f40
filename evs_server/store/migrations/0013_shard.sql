-- One database, many cores: what a core's state is in says whose slice of it a row is. -1 is the whole exchange, which one
-- process keeps (evs serve); 0 to 63 are virtual shards, each with the accounts that evs.shard_of gives it; 64 keeps how
-- far each sender is. Accounts and what belongs to one have keys of their own; they carry the number so that a start
-- finds its slice by an index, which is empty where one process has everything. equity_timeseries needs no such
-- column: it is keyed by account.

-- The same as shard_of in cluster/shards.py, which says why.
CREATE FUNCTION evs.shard_of(account_id BIGINT) RETURNS SMALLINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    ((account_id % 2147483647 + account_id / 2147483647) % 2147483647) * 1327217885 % 2147483647 * 64 / 2147483647
)::smallint;
COMMENT ON FUNCTION evs.shard_of IS 'The virtual shard of an account, 0 to 63; never changes.';

ALTER TABLE evs.engine
    ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1 CHECK (shard BETWEEN -1 AND 64),
    ADD COLUMN rows_since TIMESTAMP WITH TIME ZONE;
UPDATE evs.engine SET rows_since = (SELECT min(timestamp) FROM equity_timeseries WHERE version > latest_version);
ALTER TABLE evs.engine DROP COLUMN singleton;
ALTER TABLE evs.engine ADD PRIMARY KEY (shard);
COMMENT ON TABLE evs.engine IS 'One row a slice, locked by each of its flushes: what is committed, and who may write.';
COMMENT ON COLUMN evs.engine.shard IS '-1 the whole exchange, 0 to 63 a virtual shard, 64 the keeper of senders'' watermarks.';
COMMENT ON COLUMN evs.engine.rows_since IS
    'No row of equity_timeseries that is newer than latest_version has an earlier timestamp; NULL if there is none.';
COMMENT ON COLUMN evs.engine.version IS 'The newest valuation pass; those of different slices do not compare.';

ALTER TABLE evs.account ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.position ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.latest ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.unannounced ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.newcomer ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
CREATE INDEX account_shard_idx ON evs.account (shard) WHERE shard >= 0;
CREATE INDEX position_shard_idx ON evs.position (shard) WHERE shard >= 0;
CREATE INDEX latest_shard_idx ON evs.latest (shard) WHERE shard >= 0;
CREATE INDEX unannounced_shard_idx ON evs.unannounced (shard) WHERE shard >= 0;

-- Each slice has marks of its own, and numbers of its own.
ALTER TABLE evs.mark ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.mark DROP CONSTRAINT mark_pkey, ADD PRIMARY KEY (shard, symbol_id);
ALTER TABLE evs.source ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.source DROP CONSTRAINT source_pkey, ADD PRIMARY KEY (shard, source);
ALTER TABLE evs.digest ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.digest DROP CONSTRAINT digest_pkey, ADD PRIMARY KEY (shard, source, epoch, last_sequence);
ALTER TABLE evs.settlement ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.settlement DROP CONSTRAINT settlement_pkey, ADD PRIMARY KEY (shard, ordinal);
ALTER TABLE evs.parked ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.parked DROP CONSTRAINT parked_pkey, ADD PRIMARY KEY (shard, parked_id);
ALTER TABLE evs.set_aside ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.closed_session ADD COLUMN shard SMALLINT NOT NULL DEFAULT -1;
ALTER TABLE evs.closed_session DROP CONSTRAINT closed_session_pkey, ADD PRIMARY KEY (shard, closed_at);
COMMENT ON COLUMN evs.closed_session.shard IS 'The slice whose accounts are meant; -1: those of all.';


-- Months that nobody needs: no start of any slice reads rows of a time before its rows_since.

CREATE FUNCTION evs.is_read_by_starts(month DATE) RETURNS BOOLEAN
LANGUAGE sql STABLE
RETURN EXISTS (
    SELECT FROM evs.engine
    WHERE rows_since < (date_trunc('month', month::timestamp) + INTERVAL '1 month') AT TIME ZONE 'UTC'
);
COMMENT ON FUNCTION evs.is_read_by_starts IS
    'Whether a start may have to read rows of a month: it finds the newest valuations in evs.latest and in what is newer than that.';

CREATE OR REPLACE FUNCTION evs.drop_partitions(before DATE) RETURNS SETOF TEXT
LANGUAGE plpgsql AS $$
DECLARE
    child REGCLASS;
    month DATE;
BEGIN
    FOR child IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'equity_timeseries'::regclass LOOP
        month := to_date(substring(child::text FROM 'equity_timeseries_(\d{4}_\d{2})"?$'), 'YYYY_MM');
        CONTINUE WHEN month IS NULL OR month + INTERVAL '1 month' > before OR evs.is_read_by_starts(month);
        EXECUTE format('DROP TABLE %s', child);
        RETURN NEXT to_char(month, 'YYYY-MM');
    END LOOP;
END
$$;


-- Where equity_timeseries is no partitioned table of ours, but is cut up by something else, such as an extension for time
-- series, there are no months to make; none are found to be dropped or thinned either.

CREATE OR REPLACE FUNCTION evs.make_partition(month DATE) RETURNS TEXT
LANGUAGE plpgsql AS $$
DECLARE
    name  TEXT := 'equity_timeseries_' || to_char(month, 'YYYY_MM');
    since TIMESTAMPTZ := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    until TIMESTAMPTZ := (date_trunc('month', month::timestamp) + INTERVAL '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN 'exists';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'equity_timeseries'::regclass) THEN
        RETURN 'needless';
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
    'Makes the partition of a month (UTC): made, exists, forbidden if our role may not, default if rows of that month are in the default partition and stay there, or needless if the table has no partitions.';


-- Thinning goes by version, and versions compare only within a slice.

ALTER TABLE evs.thinned ADD COLUMN until_versions BIGINT[];
COMMENT ON COLUMN evs.thinned.until_versions IS 'The same of each virtual shard, from 0 on, where there are such; until_version is then 0.';

CREATE FUNCTION evs.until_version(place evs.thinned, account_id BIGINT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE
RETURN coalesce((place).until_versions[evs.shard_of(account_id) + 1], (place).until_version);
COMMENT ON FUNCTION evs.until_version IS 'Up to which version an account''s rows were there when the thinning of a month began.';

CREATE OR REPLACE FUNCTION evs.begin_thinning(before DATE) RETURNS DATE
LANGUAGE plpgsql AS $$
DECLARE
    copy TEXT;
    due  DATE;
BEGIN
    FOR due IN
        SELECT to_date(right(relname, 7), 'YYYY_MM')
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
        CONTINUE WHEN evs.is_read_by_starts(due);
        EXECUTE format(
            'CREATE TABLE %I (LIKE equity_timeseries INCLUDING ALL, CHECK (timestamp >= %L AND timestamp < %L))',
            copy, due::timestamp AT TIME ZONE 'UTC', (due + INTERVAL '1 month') AT TIME ZONE 'UTC'
        );
        DELETE FROM evs.thinned WHERE month = due;
        IF EXISTS (SELECT FROM evs.engine WHERE shard >= 0 AND flush_number > 0) THEN
            INSERT INTO evs.thinned (month, until_version, until_versions)
            SELECT due, 0, array_agg(coalesce(latest_version, 0) ORDER BY number)
            FROM generate_series(0, 63) AS number LEFT JOIN evs.engine ON shard = number;
        ELSE
            INSERT INTO evs.thinned (month, until_version) SELECT due, latest_version FROM evs.engine WHERE shard = -1;
        END IF;
        RETURN due;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION evs.thin(month DATE, rolls TIMESTAMPTZ[], rows_max INTEGER) RETURNS BIGINT
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
            WHERE version <= evs.until_version($5, account_id)
                AND (1 IN (as_first, as_last, as_highest, as_lowest) OR timestamp = ANY ($6))
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
        USING place.account_id, place.timestamp, place.version, rows_max, place, rolls, month;
    RETURN coalesce(count - place.read_count, 0);
END
$$;

CREATE OR REPLACE FUNCTION evs.finish_thinning(month DATE) RETURNS evs.thinned
LANGUAGE plpgsql AS $$
DECLARE
    name  TEXT := 'equity_timeseries_' || to_char(month, 'YYYY_MM');
    copy  TEXT := 'equity_timeseries_thinning_' || to_char(month, 'YYYY_MM');
    place evs.thinned;
BEGIN
    -- Nobody writes between the last rows taken over and the exchange of the tables, and nobody reads half of it.
    LOCK TABLE equity_timeseries IN ACCESS EXCLUSIVE MODE;
    UPDATE evs.thinned SET done_at = now() WHERE thinned.month = finish_thinning.month RETURNING * INTO STRICT place;
    EXECUTE format('INSERT INTO %I (%3$s) SELECT %3$s FROM %2$I WHERE version > evs.until_version($1, account_id)', copy,
        name, evs.columns_of('equity_timeseries')) USING place;
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
