-- The index holds terms that the program makes (`knowledge::terms`), so that a question is cut in the same way; SQLite's own
-- tokenizers know no words where there are no spaces. The terms are ASCII letters and digits, and what is not ASCII: the
-- tokenizer parts them at the spaces and leaves them as they are.
DROP TRIGGER chunks_inserted;
DROP TRIGGER chunks_deleted;
DROP TRIGGER chunks_updated;
DROP TABLE chunks_fts;

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

-- The version of the terms that the index holds of a chunk; 0: none yet. The server makes those that are not of its own
-- version when it starts.
ALTER TABLE chunks ADD COLUMN terms_version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX chunks_by_terms_version ON chunks (terms_version);
