-- Lists are in the order in which the store took the rows, which their rowids tell. Ids and times come from the clock, which
-- may be set back. An index ends with the rowid by itself.
DROP INDEX messages_by_conversation;
CREATE INDEX messages_by_conversation ON messages (conversation_id);
DROP INDEX turns_by_conversation;
CREATE INDEX turns_by_conversation ON turns (conversation_id);
DROP INDEX conversations_by_user;
CREATE INDEX conversations_by_user ON conversations (user_id);
