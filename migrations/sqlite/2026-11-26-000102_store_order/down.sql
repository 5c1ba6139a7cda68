DROP INDEX conversations_by_user;
CREATE INDEX conversations_by_user ON conversations (user_id, updated_at_ms, id);
DROP INDEX turns_by_conversation;
CREATE INDEX turns_by_conversation ON turns (conversation_id, id);
DROP INDEX messages_by_conversation;
CREATE INDEX messages_by_conversation ON messages (conversation_id, id);
