-- Vectors of passages by an embedding model: floats of 32 bits in little-endian order, of length 1. Only those of the same space,
-- which names the model and the form of its input, can be compared.
CREATE TABLE chunk_vectors (
    chunk_id INTEGER NOT NULL PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE,
    space TEXT NOT NULL,
    dimensions BIGINT NOT NULL,
    vector BLOB NOT NULL
);
