-- The summary that a model wrote of the messages up to a rowid, for turns whose history has no space for them.
ALTER TABLE conversations ADD COLUMN summary TEXT;
ALTER TABLE conversations ADD COLUMN summarized_until BIGINT NOT NULL DEFAULT 0;
