ALTER TABLE conversations DROP COLUMN summarized_until;
ALTER TABLE conversations DROP COLUMN summary;
