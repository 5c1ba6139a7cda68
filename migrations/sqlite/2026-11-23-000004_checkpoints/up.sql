-- What running turns have said so far: only ever appended to, so that a long answer is written once and not once for each
-- checkpoint. The rows go when the turn ends.
CREATE TABLE turn_checkpoints (
    turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    -- The seq of the first token of the row.
    first_seq BIGINT NOT NULL,
    text TEXT NOT NULL,
    -- The byte of the whole answer at which each token ends: unsigned 32-bit, little endian.
    token_ends BLOB NOT NULL,
    PRIMARY KEY (turn_id, first_seq)
) WITHOUT ROWID;
-- What is known of a running turn's answer besides its text, as JSON.
ALTER TABLE turns ADD COLUMN metadata TEXT;
-- To find the client_message_ids that are too old.
CREATE INDEX turns_by_age ON turns (started_at_ms) WHERE client_message_id IS NOT NULL;
-- One row, which a check of the store overwrites: that it can write shows only in writing.
CREATE TABLE store_checks (
    id INTEGER PRIMARY KEY NOT NULL,
    checked_at_ms BIGINT NOT NULL
);
INSERT INTO store_checks (id, checked_at_ms) VALUES (1, 0);
