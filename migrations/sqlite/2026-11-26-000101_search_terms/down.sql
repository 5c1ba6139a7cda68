DROP TRIGGER chunks_deleted;
DROP TABLE chunks_fts;
DROP INDEX chunks_by_terms_version;
ALTER TABLE chunks DROP COLUMN terms_version;

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

INSERT INTO chunks_fts (chunks_fts) VALUES ('rebuild');
