DROP TABLE conversation_events;
DROP TABLE members;
ALTER TABLE conversations DROP COLUMN handler;
ALTER TABLE conversations DROP COLUMN epoch;
ALTER TABLE conversations DROP COLUMN head_position;
ALTER TABLE turns DROP COLUMN epoch;
ALTER TABLE turns DROP COLUMN owner_node;
CREATE TABLE rebuilt_messages (
    id TEXT PRIMARY KEY NOT NULL,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    finish_reason TEXT,
    metadata TEXT,
    created_at_ms BIGINT NOT NULL
);
-- A message without a turn cannot be kept.
INSERT INTO rebuilt_messages (rowid, id, conversation_id, turn_id, role, content, finish_reason, metadata, created_at_ms)
SELECT rowid, id, conversation_id, turn_id, role, content, finish_reason, metadata, created_at_ms
FROM messages WHERE turn_id IS NOT NULL ORDER BY rowid;
DROP TABLE messages;
ALTER TABLE rebuilt_messages RENAME TO messages;
CREATE INDEX messages_by_conversation ON messages (conversation_id);
CREATE INDEX messages_by_turn ON messages (turn_id);
