CREATE TABLE documents (
    id TEXT NOT NULL PRIMARY KEY,
    source TEXT NOT NULL UNIQUE,
    collection TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    chunks BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL
);

-- The id is an alias of the rowid: the full-text index finds a chunk by it.
CREATE TABLE chunks (
    id INTEGER NOT NULL PRIMARY KEY,
    document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (document_id, position)
);

-- External content: the text is stored once, in `chunks`, and the triggers keep the index in step with it.
CREATE VIRTUAL TABLE chunks_fts USING fts5 (
    title,
    text,
    content = 'chunks',
    content_rowid = 'id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER chunks_inserted AFTER INSERT ON chunks BEGIN
    INSERT INTO chunks_fts (rowid, title, text) VALUES (new.id, new.title, new.text);
END;

CREATE TRIGGER chunks_deleted AFTER DELETE ON chunks BEGIN
    INSERT INTO chunks_fts (chunks_fts, rowid, title, text) VALUES ('delete', old.id, old.title, old.text);
END;

CREATE TRIGGER chunks_updated AFTER UPDATE ON chunks BEGIN
    INSERT INTO chunks_fts (chunks_fts, rowid, title, text) VALUES ('delete', old.id, old.title, old.text);
    INSERT INTO chunks_fts (rowid, title, text) VALUES (new.id, new.title, new.text);
END;
