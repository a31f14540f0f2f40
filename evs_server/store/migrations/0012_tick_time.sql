-- The market's time survives a start exactly, also where the last tick valued nobody.

ALTER TABLE evs.engine ADD COLUMN tick_time_ms BIGINT NOT NULL DEFAULT 0;
UPDATE evs.engine SET tick_time_ms = session_start_ms WHERE tick_timed AND session_start_ms > 0;
ALTER TABLE evs.engine DROP COLUMN tick_timed;
COMMENT ON COLUMN evs.engine.tick_time_ms IS 'The last tick''s own time; 0 if it carried none. Where ticks carry theirs, only they roll the session.';
