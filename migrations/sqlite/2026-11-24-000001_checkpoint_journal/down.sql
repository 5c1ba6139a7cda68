-- What a crash left behind is lost here: start the server once before going back, and it becomes answers.
ALTER TABLE turns ADD COLUMN metadata TEXT;
CREATE TABLE turn_checkpoints (
    turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    first_seq BIGINT NOT NULL,
    text TEXT NOT NULL,
    token_ends BLOB NOT NULL,
    PRIMARY KEY (turn_id, first_seq)
) WITHOUT ROWID;
DROP TABLE checkpoints;
