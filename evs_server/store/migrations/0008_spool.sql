-- What tells whether flushes in a spool on disk continue this database, and the rows it has refused.

ALTER TABLE evs.engine
    ADD COLUMN database_id UUID NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN committed_start_number BIGINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN evs.engine.database_id IS 'Tells this database from others: a spool is written to the one it was meant for.';
COMMENT ON COLUMN evs.engine.committed_start_number IS 'The start that committed flush_number; a spool of an earlier one is out of date.';

CREATE TABLE evs.set_aside (
    id           BIGSERIAL PRIMARY KEY,
    set_aside_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    flush_number BIGINT NOT NULL,
    target       TEXT NOT NULL,
    row          JSONB NOT NULL,
    sqlstate     TEXT NOT NULL,
    message      TEXT NOT NULL
);
CREATE INDEX set_aside_flush_number_idx ON evs.set_aside (flush_number);
COMMENT ON TABLE evs.set_aside IS 'Rows that the database refused, while the rest of their flush was written; to be repaired by hand.';
COMMENT ON COLUMN evs.set_aside.target IS 'The table that they were meant for.';
COMMENT ON COLUMN evs.set_aside.row IS 'The row, by the names that EVS gives its columns: money in cents, times in unix milliseconds.';
