-- The durable facts of a conversation, in the order in which the store took them. A position is never used again, and none is
-- missing. The text of a message is in `messages` only.
CREATE TABLE conversation_events (
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    -- From 1.
    position BIGINT NOT NULL,
    -- message, turn_started, turn_ended; later versions add others
    kind TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    -- user, agent, assistant
    actor_kind TEXT NOT NULL,
    -- Nothing refers to the account: the event outlives it.
    actor_user_id TEXT,
    message_id TEXT,
    turn_id TEXT,
    -- Fields of this kind of event, as a JSON object.
    payload TEXT NOT NULL,
    PRIMARY KEY (conversation_id, position)
) WITHOUT ROWID;

CREATE TABLE members (
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- owner, member, reader
    role TEXT NOT NULL,
    -- Position of the first event that the member may read.
    since_position BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user_id);
INSERT INTO members (conversation_id, user_id, role, since_position)
SELECT id, user_id, 'owner', 1 FROM conversations ORDER BY id;

-- The party allowed to write to the conversation (assistant, agent), and how often it changed.
ALTER TABLE conversations ADD COLUMN handler TEXT NOT NULL DEFAULT 'assistant';
ALTER TABLE conversations ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
-- Position of the latest event; 0: none.
ALTER TABLE conversations ADD COLUMN head_position BIGINT NOT NULL DEFAULT 0;

-- The epoch of the conversation when the turn began, and the node that runs it.
ALTER TABLE turns ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN owner_node TEXT;

-- Rebuilt, since SQLite cannot relax a constraint: a message may belong to no turn. Lists are ordered by rowid.
CREATE TABLE rebuilt_messages (
    id TEXT PRIMARY KEY NOT NULL,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    turn_id TEXT REFERENCES turns (id) ON DELETE CASCADE,
    -- user, assistant
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    -- Of answers: stop, length, cancelled, error
    finish_reason TEXT,
    -- Of answers: the metadata of the complete frame, as JSON.
    metadata TEXT,
    created_at_ms BIGINT NOT NULL,
    -- Of answers: the reasoning of the model, if it is kept.
    reasoning TEXT
);
INSERT INTO rebuilt_messages (rowid, id, conversation_id, turn_id, role, content, finish_reason, metadata, created_at_ms)
SELECT rowid, id, conversation_id, turn_id, role, content, finish_reason, metadata, created_at_ms
FROM messages ORDER BY rowid;
DROP TABLE messages;
ALTER TABLE rebuilt_messages RENAME TO messages;
CREATE INDEX messages_by_conversation ON messages (conversation_id);
CREATE INDEX messages_by_turn ON messages (turn_id);

-- The events that conversations would have. An answer without text is not a message; a turn that still runs has not ended.
INSERT INTO conversation_events
    (conversation_id, position, kind, at_ms, actor_kind, actor_user_id, message_id, turn_id, payload)
SELECT
    conversation_id, row_number() OVER (PARTITION BY conversation_id ORDER BY message, step),
    kind, at_ms, actor_kind, actor_user_id, message_id, turn_id, payload
FROM (
    SELECT
        m.conversation_id, m.rowid AS message, 1 AS step, 'message' AS kind, m.created_at_ms AS at_ms,
        m.role AS actor_kind, iif(m.role = 'user', t.user_id, NULL) AS actor_user_id,
        m.id AS message_id, m.turn_id, '{}' AS payload
    FROM messages m JOIN turns t ON t.id = m.turn_id
    WHERE m.role = 'user' OR m.content <> ''
    UNION ALL
    SELECT m.conversation_id, m.rowid, 2, 'turn_started', t.started_at_ms, 'assistant', NULL, m.id, m.turn_id, '{}'
    FROM messages m JOIN turns t ON t.id = m.turn_id
    WHERE m.role = 'user'
    UNION ALL
    SELECT
        m.conversation_id, m.rowid, 3, 'turn_ended', m.created_at_ms, 'assistant', NULL, m.id, m.turn_id,
        iif(t.state = 'failed', json_object('code', t.error_code), json_object('finish_reason', m.finish_reason))
    FROM messages m JOIN turns t ON t.id = m.turn_id
    WHERE m.role = 'assistant' AND t.state <> 'running'
)
ORDER BY conversation_id, message, step;
UPDATE conversations SET head_position = (
    SELECT coalesce(max(e.position), 0) FROM conversation_events e WHERE e.conversation_id = conversations.id
);
