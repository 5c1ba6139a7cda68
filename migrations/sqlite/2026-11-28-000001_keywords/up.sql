-- Search terms that the author of a document gave to its section, one per line.
ALTER TABLE chunks ADD COLUMN keywords TEXT NOT NULL DEFAULT '';
