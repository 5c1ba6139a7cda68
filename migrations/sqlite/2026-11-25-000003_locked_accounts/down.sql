ALTER TABLE users DROP COLUMN is_locked;
