DROP TABLE chunks_fts;
DROP TABLE chunks;
DROP TABLE documents;
