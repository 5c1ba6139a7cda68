-- Empty: the earlier version fills it when it starts, since no chunk has its `terms_version`.
CREATE VIRTUAL TABLE chunks_fts USING fts5 (
    title,
    text,
    content = '',
    contentless_delete = 1,
    tokenize = 'ascii'
);

CREATE TRIGGER chunks_deleted AFTER DELETE ON chunks BEGIN
    DELETE FROM chunks_fts WHERE rowid = old.id;
END;

ALTER TABLE chunks ADD COLUMN terms_version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX chunks_by_terms_version ON chunks (terms_version);
