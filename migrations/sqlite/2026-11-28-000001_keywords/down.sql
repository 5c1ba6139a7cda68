ALTER TABLE chunks DROP COLUMN keywords;
