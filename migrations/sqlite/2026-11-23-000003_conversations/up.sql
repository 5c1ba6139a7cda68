CREATE TABLE conversations (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The client's own name for the person it asks for.
    customer_id TEXT,
    title TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);
CREATE INDEX conversations_by_user ON conversations (user_id, updated_at_ms, id);

CREATE TABLE turns (
    id TEXT PRIMARY KEY NOT NULL,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_message_id TEXT,
    -- running, complete, failed
    state TEXT NOT NULL,
    -- Of a failed turn: what its terminal frame says.
    error_code TEXT,
    error_message TEXT,
    -- The byte at which each token of the answer ends: unsigned 32-bit, little endian.
    token_ends BLOB,
    started_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT
);
CREATE INDEX turns_by_conversation ON turns (conversation_id, id);
CREATE UNIQUE INDEX turns_by_client_message ON turns (user_id, client_message_id) WHERE client_message_id IS NOT NULL;
CREATE INDEX turns_running ON turns (state) WHERE state = 'running';

CREATE TABLE messages (
    id TEXT PRIMARY KEY NOT NULL,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    -- user, assistant
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    -- Of answers: stop, length, cancelled, error
    finish_reason TEXT,
    -- Of answers: the metadata of the complete frame, as JSON.
    metadata TEXT,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX messages_by_conversation ON messages (conversation_id, id);
CREATE INDEX messages_by_turn ON messages (turn_id);
