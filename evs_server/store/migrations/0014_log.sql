-- Which log the positions of the slices are of; empty until the first worker or gateway comes with one. A log and a
-- database that do not belong together would be read from positions that mean nothing.

CREATE TABLE evs.log (
    only_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_row),
    log_id   TEXT
);

INSERT INTO evs.log DEFAULT VALUES;
