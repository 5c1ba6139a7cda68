-- What running turns have said so far, as a journal: a row holds what all of them said since the row before. A row a turn
-- cost more than the turn's tokens did.
CREATE TABLE checkpoints (
    -- Never used again, so that a later row always has a larger one.
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    -- A JSON list: turn_id, first_seq, text, token_ends, metadata. A turn that comes again goes on behind first_seq.
    turns TEXT NOT NULL
);

-- What a crash left behind before this migration is not lost: the ends of tokens were unsigned 32-bit, little endian.
INSERT INTO checkpoints (turns)
WITH
    digits (hex, value) AS (
        WITH RECURSIVE byte (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM byte WHERE n < 255)
        SELECT printf('%02X', n), n FROM byte
    ),
    ends (turn_id, first_seq, place, value) AS (
        WITH RECURSIVE place (turn_id, first_seq, n) AS (
            SELECT turn_id, first_seq, 0 FROM turn_checkpoints WHERE length(token_ends) > 0
            UNION ALL
            SELECT p.turn_id, p.first_seq, p.n + 1
            FROM place p JOIN turn_checkpoints c ON c.turn_id = p.turn_id AND c.first_seq = p.first_seq
            WHERE 4 * (p.n + 1) < length(c.token_ends)
        )
        SELECT p.turn_id, p.first_seq, p.n, d0.value + 256 * d1.value + 65536 * d2.value + 16777216 * d3.value
        FROM place p JOIN turn_checkpoints c ON c.turn_id = p.turn_id AND c.first_seq = p.first_seq
        JOIN digits d0 ON d0.hex = hex(substr(c.token_ends, 4 * p.n + 1, 1))
        JOIN digits d1 ON d1.hex = hex(substr(c.token_ends, 4 * p.n + 2, 1))
        JOIN digits d2 ON d2.hex = hex(substr(c.token_ends, 4 * p.n + 3, 1))
        JOIN digits d3 ON d3.hex = hex(substr(c.token_ends, 4 * p.n + 4, 1))
    )
SELECT json_array(json_object(
    'turn_id', c.turn_id,
    'first_seq', c.first_seq,
    'text', c.text,
    'token_ends', json((
        SELECT json_group_array(value)
        FROM (SELECT value FROM ends e WHERE e.turn_id = c.turn_id AND e.first_seq = c.first_seq ORDER BY place)
    )),
    'metadata', json(t.metadata)
))
FROM turn_checkpoints c JOIN turns t ON t.id = c.turn_id
ORDER BY c.turn_id, c.first_seq;

DROP TABLE turn_checkpoints;
ALTER TABLE turns DROP COLUMN metadata;
