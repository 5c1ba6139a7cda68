-- The server keeps the search index in memory, and builds it from `chunks` when it starts.
DROP TRIGGER chunks_deleted;
DROP TABLE chunks_fts;
DROP INDEX chunks_by_terms_version;
ALTER TABLE chunks DROP COLUMN terms_version;
